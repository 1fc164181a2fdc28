"""Students: short files of explicit parts."""
