"""Cameras, LiDAR, light and weather: rays in, pictures and point clouds out."""
