"""The node `bev_student`: the detector on live cameras."""
