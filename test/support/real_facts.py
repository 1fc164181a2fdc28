"""Facts of the real mini_val annotations, counted as the data card counts the synthetic ones."""

import json
from pathlib import Path

import numpy as np

from kd_synthetic.dataset.card import Fact


def load(tables: Path) -> tuple[list[Fact], int]:
    """Facts and number of keyframes of a nuScenes-format table folder (velocity from the extra field of that copy)."""
    from nuscenes.eval.detection.utils import category_to_detection_name

    def table(name: str) -> list[dict]:
        return json.loads((tables / f"{name}.json").read_text())

    category = {row["token"]: row["name"] for row in table("category")}
    name_of = {row["token"]: category_to_detection_name(category[row["category_token"]]) for row in table("instance")}
    pose = {row["token"]: row["translation"] for row in table("ego_pose")}
    ego = {
        row["sample_token"]: pose[row["ego_pose_token"]]
        for row in table("sample_data")
        if row["is_key_frame"] and "LIDAR_TOP" in row["filename"]
    }
    facts = []
    for row in table("sample_annotation"):
        name = name_of[row["instance_token"]]
        if name is None:
            continue
        distance = float(np.linalg.norm(np.subtract(row["translation"][:2], ego[row["sample_token"]][:2])))
        velocity = row.get("velocity_global")
        speed = float(np.hypot(*velocity)) if velocity and velocity[0] is not None else 0.0
        facts.append(Fact(name, distance, row["num_lidar_pts"], int(row["visibility_token"]), speed))
    return facts, len(table("sample"))
