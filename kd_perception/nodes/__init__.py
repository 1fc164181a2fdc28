"""Thin ROS 2 nodes over ROS-free classes: lifecycle, parameters, topics and diagnostics."""
