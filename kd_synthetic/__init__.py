"""kd_synthetic: a ray-cast driving world, written as a nuScenes data set like any other. It imports kd_perception."""
