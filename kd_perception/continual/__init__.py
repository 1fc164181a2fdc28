"""Continual learning on the robot, ROS-free: which frames are worth learning from, and the folder that keeps them."""
