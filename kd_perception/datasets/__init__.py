"""nuScenes-format data sets: tables, ground truth, and the time line of a scene's camera images."""
