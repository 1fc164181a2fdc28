"""How boxes look in every picture and in RViz: colours (a class list has those of its classes), and the lowest score
that is drawn."""

Color = tuple[int, int, int]  # RGB, 0-255

GROUND_TRUTH_COLOR: Color = (255, 255, 255)
BACKGROUND: Color = (17, 21, 28)
TEXT_COLOR: Color = (205, 212, 222)
GRID_COLOR: Color = (48, 56, 68)
MISSED_COLOR: Color = (255, 56, 56)
DRAWN_SCORE = 0.25  # detections below are scored by the metric but would only clutter a picture
