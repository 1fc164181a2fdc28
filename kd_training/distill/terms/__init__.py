"""Distillation terms: features, attention, regions, relations, responses; a small object each."""
