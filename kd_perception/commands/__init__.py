"""Commands of `kd` that start nodes, and the group that all commands join."""
