"""The node `visualizer`: pictures of what the detector sees, for RViz."""
