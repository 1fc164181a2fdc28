"""What happens to a frame without ROS: synchronisation, pipeline, BEV memory, camera motion."""
