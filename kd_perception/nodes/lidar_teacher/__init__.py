"""The node `lidar_teacher`: the cameras' teacher on live point clouds."""
