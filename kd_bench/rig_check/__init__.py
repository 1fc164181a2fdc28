"""What `kd rig check` finds of mistakes that were planted, and whether it accuses healthy recordings."""
