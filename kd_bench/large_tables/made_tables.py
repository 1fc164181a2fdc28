"""Tables of any number of scenes with nuScenes' sensors, rates and counts of boxes.

Rows are written one by one: the tables of full nuScenes are 2 GB of text. All exposures of a sensor are one file, so
that samples can be read without millions of files.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from kd_perception.geometry.classes import NUSCENES
from kd_perception.geometry.transforms import quaternion_of

KEYFRAME_US, SCENE_US = 500_000, 30_000_000
START_US = 1_532_402_927_000_000
FILES_PER_KEYFRAME = {"camera": 6.0, "lidar": 10.0, "radar": 6.5}
BOXES_PER_KEYFRAME, BOXES_PER_TRACK = 34, 18
YAW_DEGREES = {
    "CAM_FRONT": 0.0, "CAM_FRONT_RIGHT": -55.0, "CAM_BACK_RIGHT": -110.0, "CAM_BACK": 180.0, "CAM_BACK_LEFT": 110.0,
    "CAM_FRONT_LEFT": 55.0,
}  # fmt: skip
RADARS = ("RADAR_FRONT", "RADAR_FRONT_LEFT", "RADAR_FRONT_RIGHT", "RADAR_BACK_LEFT", "RADAR_BACK_RIGHT")
MODALITY = dict.fromkeys(YAW_DEGREES, "camera") | {"LIDAR_TOP": "lidar"} | dict.fromkeys(RADARS, "radar")
CATEGORIES = tuple(kind.categories[0] for kind in NUSCENES.classes)
INTRINSICS = [[1266.4, 0.0, 816.2], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]
SIZE = (1600, 900)  # of a picture
POINTS = 34_000  # of a cloud
NO_TURN = [1.0, 0.0, 0.0, 0.0]


@dataclass(frozen=True)
class MadeTables:
    """What is written: scenes by name, keyframes of each, and the seed of classes and places."""

    scenes: tuple[str, ...]
    keyframes: int = 40
    seed: int = 7

    def write(self, folder: Path) -> None:
        """Write all tables into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in {
            "category": ({"token": _token(name), "name": name, "description": ""} for name in CATEGORIES),
            "attribute": [{"token": _token("still"), "name": "vehicle.parked", "description": ""}],
            "visibility": [{"token": "4", "level": "v80-100", "description": ""}],
            "sensor": ({"token": _token(c), "channel": c, "modality": kind} for c, kind in MODALITY.items()),
            "log": [{"token": _token("log"), "logfile": "made", "vehicle": "", "date_captured": "", "location": ""}],
            "map": [{"token": _token("map"), "log_tokens": [_token("log")], "category": "", "filename": ""}],
            "calibrated_sensor": (_calibration(scene, channel) for scene in self.scenes for channel in MODALITY),
            "scene": (self._scene(scene) for scene in self.scenes),
            "sample": self._samples(),
            "sample_data": self._files(),
            "ego_pose": ({"token": row["token"], "timestamp": row["timestamp"], "rotation": NO_TURN,
                          "translation": [411.3, 1180.9, 0.0]} for row in self._files()),
            "instance": (row for _, row in self._tracks()),
            "sample_annotation": (row for boxes, _ in self._tracks() for row in boxes),
        }.items():  # fmt: skip
            _write(folder / f"{name}.json", rows)

    def _scene(self, scene: str) -> dict:
        return {
            "token": _token("scene", scene), "log_token": _token("log"), "nbr_samples": self.keyframes, "name": scene,
            "first_sample_token": _token(scene, 0), "last_sample_token": _token(scene, self.keyframes - 1),
            "description": "",
        }  # fmt: skip

    def _samples(self) -> Iterator[dict]:
        for number, scene in enumerate(self.scenes):
            for index in range(self.keyframes):
                yield {
                    "token": _token(scene, index), "timestamp": _stamp_us(number, index),
                    "scene_token": _token("scene", scene), **_neighbours(self.keyframes, index, scene),
                }  # fmt: skip

    def _files(self) -> Iterator[dict]:
        for number, scene in enumerate(self.scenes):
            for channel, modality in MODALITY.items():
                rate = FILES_PER_KEYFRAME[modality]
                keys = {round(index * rate): index for index in range(self.keyframes)}
                count = int(self.keyframes * rate)
                for index in range(count):
                    yield _file_row((scene, channel), index, count, _stamp_us(number, index / rate)) | {
                        "sample_token": _token(scene, min(round(index / rate), self.keyframes - 1)),
                        "is_key_frame": index in keys,
                    }

    def _tracks(self) -> Iterator[tuple[list[dict], dict]]:
        rng = random.Random(self.seed)
        tracks = BOXES_PER_KEYFRAME * self.keyframes // BOXES_PER_TRACK
        length = min(BOXES_PER_TRACK, self.keyframes)
        for scene in self.scenes:
            for track in range(tracks):
                name = (scene, "track", track)
                boxes = list(_boxes(name, length, rng, self.keyframes))
                yield boxes, {
                    "token": _token(*name), "category_token": _token(rng.choice(CATEGORIES)),
                    "nbr_annotations": length, "first_annotation_token": boxes[0]["token"],
                    "last_annotation_token": boxes[-1]["token"],
                }  # fmt: skip


def _boxes(name: tuple[str, str, int], length: int, rng: random.Random, keyframes: int) -> Iterator[dict]:
    first = rng.randrange(keyframes - length + 1)
    x, y = 411.3 + rng.uniform(-50, 50), 1180.9 + rng.uniform(-50, 50)
    for index in range(length):
        yield {
            "token": _token(*name, index), "sample_token": _token(name[0], first + index),
            "instance_token": _token(*name), "visibility_token": "4", "attribute_tokens": [_token("still")],
            "translation": [x + 0.5 * index, y, 1.0], "size": [1.8, 4.5, 1.6], "rotation": NO_TURN,
            "num_lidar_pts": rng.choice((0, 3, 20, 100)), "num_radar_pts": 0, **_neighbours(length, index, *name),
        }  # fmt: skip


def _file_row(name: tuple[str, str], index: int, count: int, stamp_us: int) -> dict:
    _, channel = name
    is_camera = channel in YAW_DEGREES
    return {
        "token": _token(*name, index), "ego_pose_token": _token(*name, index),
        "calibrated_sensor_token": _token("mounted", *name), "timestamp": stamp_us,
        "fileformat": "jpg" if is_camera else "pcd", "width": SIZE[0] * is_camera, "height": SIZE[1] * is_camera,
        "filename": file_name(channel),
        **_neighbours(count, index, *name),
    }  # fmt: skip


def _calibration(scene: str, channel: str) -> dict:
    is_camera, half = channel in YAW_DEGREES, np.radians(YAW_DEGREES.get(channel, 0.0))
    forward, left = [np.cos(half), np.sin(half), 0.0], [-np.sin(half), np.cos(half), 0.0]
    axes = np.column_stack([np.negative(left), [0.0, 0.0, -1.0], forward])  # a camera's x, y, z in ego
    return {
        "token": _token("mounted", scene, channel), "sensor_token": _token(channel), "translation": [1.7, 0.0, 1.5],
        "rotation": quaternion_of(axes).tolist() if is_camera else NO_TURN,
        "camera_intrinsic": INTRINSICS if is_camera else [],
    }  # fmt: skip


def file_name(channel: str) -> str:
    """The file of a sensor, as long a name as nuScenes gives each of its own."""
    return f"sweeps/{channel}/scene-0000__{channel}__{START_US}.{'jpg' if channel in YAW_DEGREES else 'pcd.bin'}"


def write_sensor_files(dataroot: Path, seed: int) -> None:
    """A picture of coarse noise for each camera and a cloud for the LiDAR; RADARs have none."""
    rng = np.random.default_rng(seed)
    cloud = rng.uniform([-50, -50, -2, 0, 0], [50, 50, 4, 255, 32], (POINTS, 5)).astype(np.float32)
    cloud[:, 4] = np.floor(cloud[:, 4])
    for channel, kind in MODALITY.items():
        path = dataroot / file_name(channel)
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "camera":
            picture = cv2.resize(rng.integers(0, 256, (SIZE[1] // 50, SIZE[0] // 50, 3), np.uint8), SIZE)
            cv2.imwrite(str(path), picture)
        elif kind == "lidar":
            path.write_bytes(cloud.tobytes())


def _stamp_us(scene: int, keyframe: float) -> int:
    return START_US + scene * SCENE_US + int(keyframe * KEYFRAME_US)


def _neighbours(count: int, index: int, *name: object) -> dict[str, str]:
    return {
        "prev": _token(*name, index - 1) if index else "",
        "next": _token(*name, index + 1) if index + 1 < count else "",
    }


def _token(*parts: object) -> str:
    return hashlib.md5("/".join(map(str, parts)).encode()).hexdigest()


def _write(path: Path, rows: Iterable[dict]) -> None:
    with path.open("w") as stream:
        for number, row in enumerate(rows):
            stream.write((",\n" if number else "[\n") + json.dumps(row))
        stream.write("\n]")
