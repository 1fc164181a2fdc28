"""`kd bench tables`: opening a data set of nuScenes' size."""
