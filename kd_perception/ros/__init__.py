"""ROS 2 messages to and from this project's plain types: convention edges, each with a round-trip test."""
