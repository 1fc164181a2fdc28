"""Geometry of the contract: transforms, boxes, the BEV grid, cameras and their lenses. Plain NumPy."""
