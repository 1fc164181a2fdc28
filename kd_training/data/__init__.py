"""Training data: nuScenes-format frames, augmentation, targets and LiDAR depth labels."""
