"""The node `replay`: plays a bag into the running graph, with /clock."""
