"""How boxes look in every picture and in RViz: colours, and the lowest score that is drawn."""

Color = tuple[int, int, int]  # RGB, 0-255

CLASS_COLORS: dict[str, Color] = {
    "car": (255, 168, 38),
    "truck": (255, 105, 82),
    "construction_vehicle": (222, 184, 90),
    "bus": (255, 92, 178),
    "trailer": (190, 120, 255),
    "barrier": (150, 164, 178),
    "motorcycle": (84, 214, 255),
    "bicycle": (80, 160, 255),
    "pedestrian": (80, 236, 130),
    "traffic_cone": (236, 240, 90),
}
GROUND_TRUTH_COLOR: Color = (255, 255, 255)
BACKGROUND: Color = (17, 21, 28)
TEXT_COLOR: Color = (205, 212, 222)
GRID_COLOR: Color = (48, 56, 68)
MISSED_COLOR: Color = (255, 56, 56)
DRAWN_SCORE = 0.25  # detections below are scored by the metric but would only clutter a picture
