"""Scores of models in training: students, teachers, their pictures."""
