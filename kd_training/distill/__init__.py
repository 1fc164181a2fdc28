"""Distillation of a LiDAR teacher into a camera student: terms over named outputs, adapters, and blending."""
