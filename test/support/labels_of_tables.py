"""Labels as `kd import bag` takes them, from the tables of a data set."""

import json
from pathlib import Path

import numpy as np

from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_samples
from kd_perception.geometry.transforms import invert, make_transform, yaw_of


def write_labels(dataroot: Path, version: str, scene: str, out: Path) -> Path:
    """A scene's annotations in base_link at the anchor's exposures, written to `out`."""
    nusc = open_nuscenes(dataroot, version)
    labels, empty = [], []
    for sample in scene_samples(nusc, scene):
        frame = load_frame(nusc, sample)
        stamp = frame.timestamp_us / 1e6
        rows = [nusc.get("sample_annotation", token) for token in nusc.get("sample", sample)["anns"]]
        empty += [] if rows else [stamp]
        for row in rows:
            box = make_transform(np.array(row["rotation"]), np.array(row["translation"]))
            in_ego = invert(frame.global_from_ego) @ box
            width, length, height = row["size"]
            labels.append(
                {
                    "class": row["category_name"],
                    "center": in_ego[:3, 3].tolist(),
                    "size": [length, width, height],
                    "yaw": yaw_of(in_ego),
                    "stamp": stamp,
                    "frame": "base_link",
                    "track": row["instance_token"],
                }
            )
    out.write_text(json.dumps({"labels": labels, "without_objects": empty}))
    return out
