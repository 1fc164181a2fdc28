"""Distillation from the student that is updated: what it detects, it shall go on detecting."""
