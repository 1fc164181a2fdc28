"""Frames with all that is known of them, as files that viewers open: rerun and Foxglove."""
