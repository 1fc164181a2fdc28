"""Where a frame's time goes: every operator against what the machine can do, and the same network in other engines."""
