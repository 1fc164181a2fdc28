"""Measurements: agreement of the engines with PyTorch, and time per stage (`kd bench`)."""
