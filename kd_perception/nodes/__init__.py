"""Thin ROS 2 nodes over ROS-free classes: lifecycle, parameters, topics and diagnostics, and nothing that needs a graph to be tested."""
