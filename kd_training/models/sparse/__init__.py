"""Sparse 3D convolutions by rule book, in plain torch on any device; spconv computes them where it and a GPU are."""
