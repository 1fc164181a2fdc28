"""What `kd view` shows: frames of bags, result folders and data sets, and a student's heatmaps of them."""
