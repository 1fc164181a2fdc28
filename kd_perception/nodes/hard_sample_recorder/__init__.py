"""The node that keeps the frames worth learning from: where its detector and the LiDAR teacher disagree."""
