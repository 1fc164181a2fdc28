"""Node graphs: described once, started as plain processes or as actions of ros2 launch."""
