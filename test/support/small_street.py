"""A data set of a few cars on a street, made in milliseconds: tables, blurred pictures, clouds on their sides."""

from pathlib import Path

import cv2
import numpy as np

from kd_perception.datasets.clouds import NUSCENES_COLUMNS
from kd_perception.datasets.written_tables import (
    LabelledBox,
    MountedLidar,
    SensorFile,
    WrittenKeyframe,
    WrittenTables,
)
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw

VERSION = "v1.0-street"
STEP_US = 500_000
SIZE = np.array([4.6, 1.9, 1.6])
SPEED = 5.0  # m/s
LIDAR = MountedLidar(
    "LIDAR_TOP", make_transform(quaternion_from_yaw(-1.5), np.array([0.9, 0.1, 1.8])), NUSCENES_COLUMNS
)


def write_street(root: Path, *, keyframes: int = 4, moving: bool = True, category: str = "vehicle.car") -> Path:
    """Cars on a ring around an ego that drives far from the global origin; their headings are along their motion."""
    tables, camera = WrittenTables("street"), ring_rig(1, 176, 64, np.radians(80.0))[0]
    frames = []
    for index in range(keyframes):
        stamp_us = 1_000_000 + index * STEP_US
        global_from_ego = make_transform(quaternion_from_yaw(0.7), np.array([400.0 + 2.0 * index, 900.0, 3.0]))
        boxes = _cars(index * STEP_US / 1e6 if moving else 0.0, category)
        files = [
            SensorFile(camera, f"samples/{camera.name}/{stamp_us}.png", stamp_us, global_from_ego),
            SensorFile(LIDAR, f"samples/{LIDAR.name}/{stamp_us}.bin", stamp_us, global_from_ego),
        ]
        for file in files:
            (root / file.filename).parent.mkdir(parents=True, exist_ok=True)
        picture = np.random.default_rng(index).integers(0, 255, (64, 176, 3), np.uint8)
        cv2.imwrite(str(root / files[0].filename), cv2.GaussianBlur(picture, (0, 0), 8))
        cloud = apply(invert(global_from_ego @ LIDAR.ego_from_lidar), np.concatenate([_sides(box) for box in boxes]))
        np.pad(cloud, ((0, 0), (0, 2))).astype(np.float32).tofile(root / files[1].filename)
        frames.append(WrittenKeyframe(stamp_us, files, boxes))
    tables.add_scene("street", frames)
    tables.write(root, VERSION)
    return root


def _cars(seconds: float, category: str) -> list[LabelledBox]:
    cars = []
    for number, angle in enumerate(np.arange(0.3, 6.2, 0.9)):
        yaw = 0.7 + 1.1 * number
        center = np.array([400.0, 900.0, 3.8]) + 15.0 * np.array([np.cos(angle), np.sin(angle), 0.0])
        center[:2] += SPEED * seconds * np.array([np.cos(yaw), np.sin(yaw)])
        cars.append(LabelledBox(category, center, SIZE, yaw, 32, track=f"car{number}"))
    return cars


def _sides(box: LabelledBox) -> np.ndarray:
    """Points (32, 3) in global on the long side and the rear of a box, .5 m and more above its bottom."""
    along = np.linspace(-0.45, 0.45, 20)
    side = np.column_stack([along, np.full(20, 0.48), np.linspace(-0.1, 0.4, 20)])
    across = np.linspace(-0.45, 0.45, 12)
    rear = np.column_stack([np.full(12, -0.48), across, np.linspace(-0.1, 0.4, 12)])
    return apply(make_transform(quaternion_from_yaw(box.yaw), box.center), np.concatenate([side, rear]) * box.size)
