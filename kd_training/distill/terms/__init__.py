"""Distillation terms, a small object each: features, attention, predictions (response) and relations."""
