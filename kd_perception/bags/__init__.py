"""rosbag2 without ROS: nuScenes-format scenes to bags, and a bag writer that leaves whole bags or none."""
