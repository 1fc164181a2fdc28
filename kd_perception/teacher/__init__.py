"""The contract of LiDAR teachers: their file, their points, and pillars of these. Training and the robot share it."""
