"""The data card: what a rendered set holds, beside the real nuScenes mini_val tables, as card.md and card.json."""

import json
from pathlib import Path

from kd_perception.atomic import write_text

# Range in metres within which the nuScenes metric counts a class.
CLASS_RANGE = {"car": 50, "truck": 50, "bus": 50, "trailer": 50, "construction_vehicle": 50, "pedestrian": 40, "motorcycle": 40, "bicycle": 40, "traffic_cone": 30, "barrier": 30}


def write_card(out: Path, scene_files: list[Path], settings: dict) -> None:
    """Write card.json and card.md."""
    import numpy as np

    frames, rows = 0, []
    for path in scene_files:
        facts = json.loads(path.read_text())["facts"]
        frames += len(facts)
        rows += [row for frame in facts for row in frame]
    stats = {}
    for name, reach in CLASS_RANGE.items():
        chosen = [row for row in rows if row[0] == name and row[1] < reach]
        if not chosen:
            continue
        distance, points, level, speed = (np.array([row[i] for row in chosen], float) for i in (1, 2, 3, 5))
        stats[name] = {
            "per_frame": round(len(chosen) / frames, 2), "distance": np.percentile(distance, (10, 50, 90)).round(1).tolist(),
            "points": np.percentile(points, (10, 25, 50, 75, 90)).round(0).tolist(), "no_points": round(float((points == 0).mean()), 2),
            "visibility": [round(float((level == i).mean()), 2) for i in (1, 2, 3, 4)], "moving": round(float((speed > 0.5).mean()), 2),
        }
    write_text(out / "card.json", json.dumps({"settings": settings, "frames": frames, "classes": stats}, indent=1))
