"""ROS 2 messages to and from this project's plain types: every convention edge of the robot side, each with a round-trip test."""
