"""The student file: its specification, its inputs computed from calibration, and the decoding of its outputs."""
