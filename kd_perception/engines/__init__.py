"""Inference engines behind one small protocol (kd_perception.engines.base)."""
