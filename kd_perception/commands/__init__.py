"""Commands of `kd` that start nodes, and the group of commands that packages join."""
