"""Real traffic rendered again: boxes, poses and calibration of any nuScenes tables."""
