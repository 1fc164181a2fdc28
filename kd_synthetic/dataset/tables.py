"""nuScenes tables (schema of arXiv:1903.11027's devkit): rows of one scene, and the merged tables of a data set.

Tokens are md5 sums of what a row describes, so the same seed always writes the same tables.
"""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

from kd_perception.atomic import write_bytes, write_text
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.geometry.transforms import quaternion_from_yaw, quaternion_of
from kd_synthetic.dataset.annotate import Annotation
from kd_synthetic.rendering.sensors import CHANNELS, LIDAR_CHANNEL, CameraSensor
from kd_synthetic.rendering.world import World
from kd_synthetic.streets.conditions import DEFAULT_CONDITIONS, Conditions

SPLIT = "synth"  # every scene of a data set, as a split of the devkit's `splits.json`
SCENE_TABLES = (
    "log",
    "scene",
    "calibrated_sensor",
    "sample",
    "sample_data",
    "ego_pose",
    "instance",
    "sample_annotation",
)
ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
CATEGORIES = (
    "human.pedestrian.adult",
    "human.pedestrian.child",
    "human.pedestrian.construction_worker",
    "vehicle.car",
    "vehicle.motorcycle",
    "vehicle.bicycle",
    "vehicle.bus.rigid",
    "vehicle.truck",
    "vehicle.construction",
    "vehicle.trailer",
    "movable_object.barrier",
    "movable_object.trafficcone",
)
VISIBILITIES = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}
MAP_FILE = "maps/synthetic.png"
EPOCH_US = 1_700_000_000_000_000  # first keyframe of scene 0
SCENE_SPACING_US = 1_000_000_000


def token(*parts: object) -> str:
    """A 32-digit token that depends only on `parts`."""
    return hashlib.md5("/".join(str(part) for part in parts).encode(), usedforsecurity=False).hexdigest()


def sensor_file(scene: str, channel: str, timestamp: int, *, keyframe: bool) -> str:
    """Path of a sensor file below the data root, named as nuScenes does."""
    suffix = "pcd.bin" if channel == LIDAR_CHANNEL else "jpg"
    return f"{'samples' if keyframe else 'sweeps'}/{channel}/{scene}__{channel}__{timestamp}.{suffix}"


def link(rows: list[dict]) -> list[dict]:
    """Fill prev and next along the list."""
    for before, after in zip(rows[:-1], rows[1:], strict=True):
        before["next"], after["prev"] = after["token"], before["token"]
    return rows


class SceneTables:
    """Collects the rows of one scene, keyframe by keyframe."""

    def __init__(self, world: World, index: int, seed: int, conditions: Conditions) -> None:
        self._world, self._seed, self._conditions = world, seed, conditions
        self._start = EPOCH_US + index * SCENE_SPACING_US
        channels = (*(camera.channel for camera in world.rig.cameras), LIDAR_CHANNEL)
        self._chains: dict[str, list[dict]] = {channel: [] for channel in channels}
        self._samples: list[dict] = []
        self._poses: list[dict] = []
        self._annotations: dict[int, list[dict]] = {}

    def timestamp(self, step: float) -> int:
        """Microseconds of a time step, or between two."""
        return self._start + round(step * 50_000)

    def _token(self, *parts: object) -> str:
        return token(self._seed, self._world.name, *parts)

    def add_sensor(self, channel: str, step: float, *, keyframe: bool) -> str:
        """A sample_data row and its ego pose; returns the file's path below the data root. Sweeps belong to the
        keyframe before them.
        """
        timestamp = self.timestamp(step)
        row_token = self._token(channel, step)
        camera = next((camera for camera in self._world.rig.cameras if camera.channel == channel), None)
        filename = sensor_file(self._world.name, channel, timestamp, keyframe=keyframe)
        self._chains[channel].append(
            {
                "token": row_token,
                "sample_token": self._samples[-1]["token"],
                "ego_pose_token": row_token,
                "calibrated_sensor_token": self._token("calibrated", channel),
                "timestamp": timestamp,
                "fileformat": "jpg" if camera else "pcd",
                "is_key_frame": keyframe,
                "height": camera.height if camera else 0,
                "width": camera.width if camera else 0,
                "filename": filename,
                "prev": "",
                "next": "",
            }
        )
        pose = self._world.world_from_ego(step)
        self._poses.append(
            {
                "token": row_token,
                "timestamp": timestamp,
                "rotation": quaternion_of(pose).tolist(),
                "translation": pose[:3, 3].tolist(),
            }
        )
        return filename

    def add_sample(self, step: int) -> None:
        """Begin a keyframe."""
        self._samples.append(
            {
                "token": self._token("sample", step),
                "timestamp": self.timestamp(step),
                "prev": "",
                "next": "",
                "scene_token": self._token("scene"),
            }
        )

    def add_annotations(self, annotations: list[Annotation]) -> None:
        """The boxes of the last keyframe."""
        sample = self._samples[-1]["token"]
        for annotation in annotations:
            length, width, height = annotation.size
            self._annotations.setdefault(annotation.actor, []).append(
                {
                    "token": self._token("annotation", sample, annotation.actor),
                    "sample_token": sample,
                    "instance_token": self._token("instance", annotation.actor),
                    "visibility_token": str(annotation.visibility),
                    "attribute_tokens": [token("attribute", annotation.attribute)] if annotation.attribute else [],
                    "translation": list(annotation.centre),
                    "size": [width, length, height],
                    "rotation": quaternion_from_yaw(annotation.yaw).tolist(),
                    "prev": "",
                    "next": "",
                    "num_lidar_pts": annotation.lidar_points,
                    "num_radar_pts": 0,
                }
            )

    def annotation_tokens(self) -> dict[int, str]:
        """Token of every actor's annotation in the last keyframe."""
        sample = self._samples[-1]["token"]
        last = {actor: rows[-1] for actor, rows in self._annotations.items()}
        return {actor: row["token"] for actor, row in last.items() if row["sample_token"] == sample}

    def finish(self) -> dict[str, list[dict]]:
        """All rows of the scene by table."""
        name, actors = self._world.name, self._world.actors
        instances = [
            {
                "token": rows[0]["instance_token"],
                "category_token": token("category", actors[actor].category),
                "nbr_annotations": len(rows),
                "first_annotation_token": rows[0]["token"],
                "last_annotation_token": rows[-1]["token"],
            }
            for actor, rows in sorted(self._annotations.items())
        ]
        rig = self._world.rig
        calibrated = [
            _calibrated(
                self._token("calibrated", camera.channel),
                camera.channel,
                camera.ego_from_camera,
                camera.intrinsics.tolist(),
            )
            | _lens(camera)
            for camera in rig.cameras
        ]
        calibrated.append(_calibrated(self._token("calibrated", LIDAR_CHANNEL), LIDAR_CHANNEL, rig.ego_from_lidar, []))
        return {
            "log": [
                {
                    "token": self._token("log"),
                    "logfile": name,
                    "vehicle": "synthetic",
                    "date_captured": "2023-11-14",
                    "location": "synthetic" if self._conditions.city == "A" else f"synthetic-{self._conditions.city}",
                }
            ],
            "scene": [
                {
                    "token": self._token("scene"),
                    "log_token": self._token("log"),
                    "nbr_samples": len(self._samples),
                    "first_sample_token": self._samples[0]["token"],
                    "last_sample_token": self._samples[-1]["token"],
                    "name": name,
                    "description": self._conditions.description,
                }
            ],
            "calibrated_sensor": calibrated,
            "sample": link(self._samples),
            "sample_data": [row for chain in self._chains.values() for row in link(chain)],
            "ego_pose": self._poses,
            "instance": instances,
            "sample_annotation": [row for _, rows in sorted(self._annotations.items()) for row in link(rows)],
        }


def _calibrated(row_token: str, channel: str, ego_from_sensor: np.ndarray, intrinsics: list) -> dict:
    return {
        "token": row_token,
        "sensor_token": token("sensor", channel),
        "translation": ego_from_sensor[:3, 3].tolist(),
        "rotation": quaternion_of(ego_from_sensor).tolist(),
        "camera_intrinsic": intrinsics,
    }


def _lens(camera: CameraSensor) -> dict:
    """The lens, in fields of our own: nuScenes' schema has none for it, and its devkit ignores them."""
    if camera.distortion_model == "none":
        return {}
    return {"distortion_model": camera.distortion_model, "distortion": list(camera.distortion)}


def _splits(scenes: list[str]) -> dict[str, list[str]]:
    """All scenes as one split, and in sets that are not all of city A by day one for every condition that occurs."""
    splits = {SPLIT: scenes}
    conditions = {name: Conditions.of_scene(name) for name in scenes}
    if any(value != DEFAULT_CONDITIONS for value in conditions.values()):
        for name, value in conditions.items():
            for word in (value.city.lower(), value.light, value.weather):
                splits.setdefault(f"{SPLIT}_{word}", []).append(name)
    return splits


def write_tables(out: Path, scene_files: list[Path]) -> None:
    """Merge the scenes' rows into the data set's tables, below `out`, with a blank map and the devkit's splits file."""
    merged: dict[str, list[dict]] = {name: [] for name in SCENE_TABLES}
    for path in scene_files:
        rows = json.loads(path.read_text())
        for name in SCENE_TABLES:
            merged[name] += rows["tables"][name]
    merged["attribute"] = [{"token": token("attribute", name), "name": name, "description": ""} for name in ATTRIBUTES]
    merged["category"] = [{"token": token("category", name), "name": name, "description": ""} for name in CATEGORIES]
    merged["visibility"] = [
        {"token": key, "level": level, "description": f"visibility of whole object: {level} %"}
        for key, level in VISIBILITIES.items()
    ]
    merged["sensor"] = [
        {
            "token": token("sensor", channel),
            "channel": channel,
            "modality": "lidar" if channel == LIDAR_CHANNEL else "camera",
        }
        for channel in CHANNELS
    ]
    merged["map"] = [
        {
            "token": token("map"),
            "log_tokens": [row["token"] for row in merged["log"]],
            "category": "semantic_prior",
            "filename": MAP_FILE,
        }
    ]
    ok, png = cv2.imencode(".png", np.full((16, 16), 255, np.uint8))
    if not ok:
        raise RuntimeError("OpenCV could not encode the map picture as PNG")
    write_bytes(out / MAP_FILE, png.tobytes())
    for name, rows in merged.items():
        write_text(out / SYNTHETIC_VERSION / f"{name}.json", json.dumps(rows))
    write_text(out / SYNTHETIC_VERSION / "splits.json", json.dumps(_splits([row["name"] for row in merged["scene"]])))
