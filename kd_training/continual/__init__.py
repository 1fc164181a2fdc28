"""Continual learning: a replay buffer of earlier domains, and updates of a student that learn a new one."""
