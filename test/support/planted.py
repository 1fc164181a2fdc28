"""Mistakes planted into the labels of a nuScenes-format data set, as wrong converters make them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kd_perception.datasets.nuscenes import ego_pose, open_nuscenes, sensor_transform
from kd_perception.geometry.transforms import invert, make_transform, quaternion_from_yaw, quaternion_of


def planted(root: Path, version: str, out: Path, change: Callable[[list[dict]], None]) -> Path:
    """A copy of the tables in `out`, its annotations changed, with links to the files of `root`."""
    (out / version).mkdir(parents=True)
    for entry in root.iterdir():
        if entry.name != version:
            (out / entry.name).symlink_to(entry)
    for table in (root / version).glob("*.json"):
        rows = json.loads(table.read_text())
        if table.stem == "sample_annotation":
            change(rows)
        (out / version / table.name).write_text(json.dumps(rows))
    return out


def swap_width_and_length(rows: list[dict]) -> None:
    """Sizes as length, width, height."""
    for row in rows:
        row["size"] = [row["size"][1], row["size"][0], row["size"][2]]


def turn_yaw(rows: list[dict]) -> None:
    """Yaw from another axis."""
    turn = make_transform(quaternion_from_yaw(np.pi / 2), np.zeros(3))
    for row in rows:
        turned = make_transform(np.array(row["rotation"]), np.zeros(3)) @ turn
        row["rotation"] = quaternion_of(turned).tolist()


def in_lidar_frame(root: Path, version: str) -> Callable[[list[dict]], None]:
    """Boxes as the LiDAR sees them, not in global."""
    nusc = open_nuscenes(root, version)

    def change(rows: list[dict]) -> None:
        for row in rows:
            (lidar, *_) = nusc.rig_of(row["sample_token"]).lidar_rows(nusc, row["sample_token"])
            global_from_lidar = ego_pose(nusc, lidar) @ sensor_transform(nusc, lidar)
            box = make_transform(np.array(row["rotation"]), np.array(row["translation"]))
            local = invert(global_from_lidar) @ box
            row["translation"], row["rotation"] = local[:3, 3].tolist(), quaternion_of(local).tolist()

    return change


def stated_velocities(root: Path, version: str, factor: float) -> Callable[[list[dict]], None]:
    """Velocities stated in the rows, `factor` times what the objects travel."""
    nusc = open_nuscenes(root, version)

    def change(rows: list[dict]) -> None:
        for row in rows:
            velocity = nusc.box_velocity(row["token"])
            if np.isfinite(velocity).all():
                row["velocity_global"] = (factor * velocity[:2]).tolist()

    return change
