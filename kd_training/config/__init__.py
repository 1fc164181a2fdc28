"""Typed configurations of students, teachers and distillation, read from YAML."""
