"""Weights on disk: checkpoints, backbone weights, the exported student file and its provenance."""
