"""Pictures of boxes: in camera images and in the bird's-eye view."""
