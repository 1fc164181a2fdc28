"""What several tests share: a fast student whose detections are known, painted images, small rigs."""
