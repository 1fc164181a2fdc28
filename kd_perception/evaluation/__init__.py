"""Scores: detections -> nuScenes result file -> nuScenes metric -> report."""
