"""Real traffic, re-rendered: boxes, poses and calibration of any nuScenes tables."""
