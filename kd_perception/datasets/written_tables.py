"""Writes nuScenes-format tables (schema of arXiv:1903.11027's devkit) of recordings that come from elsewhere.

Tokens are md5 sums of what a row describes, so that the same recording always gives the same tables. Fields of our
own, which the devkit ignores: a lens (`distortion_model`, `distortion`), a cloud's `columns`, and a box's `extra`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kd_perception.atomic import write_text
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import quaternion_from_yaw, quaternion_of

VISIBILITIES = {"1": "v0-40", "2": "v40-60", "3": "v60-80", "4": "v80-100"}


@dataclass(frozen=True, eq=False)
class MountedLidar:
    """A LiDAR: `ego_from_lidar` (4, 4), and the columns of its files (kd_perception.datasets.clouds)."""

    name: str
    ego_from_lidar: np.ndarray
    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SensorFile:
    """What one sensor measured: its file below the data root, its time, and `global_from_ego` (4, 4) at that time."""

    sensor: Camera | MountedLidar
    filename: str
    stamp_us: int
    global_from_ego: np.ndarray
    keyframe: bool = True


@dataclass(frozen=True, eq=False)
class LabelledBox:
    """One object of a keyframe, in global: geometric centre (3,), size (length, width, height), metres, and yaw.

    track: a name that boxes of the same object share within a scene, '' for an object of one keyframe. points: LiDAR
    points inside, None where nothing measured. visibility: a key of VISIBILITIES, or '' where unknown. attributes:
    names, the one that the metric takes first. extra: fields of the row that nuScenes' schema lacks.
    """

    category: str
    center: np.ndarray
    size: np.ndarray
    yaw: float
    points: int | None
    track: str = ""
    visibility: str = ""
    attributes: Sequence[str] = ()
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class WrittenKeyframe:
    """A keyframe: its time, its sensors' files and those that follow until the next keyframe, and its boxes."""

    stamp_us: int
    files: Sequence[SensorFile]
    boxes: Sequence[LabelledBox]


def is_written(out: Path, version: str) -> bool:
    """Whether WrittenTables.write got to its end; what a kill left of a data set may be written once more."""
    return (out / version / "scene.json").is_file()


class WrittenTables:
    """Collects scenes; `write` makes the tables of them."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._rows: dict[str, list[dict]] = {
            name: [] for name in ("log", "scene", "sample", "sample_data", "ego_pose", "instance", "sample_annotation")
        }
        self._rows["visibility"] = [
            {"token": key, "level": level, "description": ""} for key, level in VISIBILITIES.items()
        ]
        self._by_token: dict[str, dict[str, dict]] = {
            name: {} for name in ("sensor", "calibrated_sensor", "category", "attribute")
        }

    def add_scene(self, name: str, keyframes: Sequence[WrittenKeyframe], description: str = "") -> None:
        """Add a scene of at least one keyframe, in time order."""
        samples = [{"token": sample_token(name, frame.stamp_us)} for frame in keyframes]
        for row, frame in zip(samples, keyframes, strict=True):
            row |= {"timestamp": frame.stamp_us, "scene_token": table_token(name, "scene")}
        self._rows["sample"] += linked_rows(samples)
        self._rows["log"].append(
            _row(name, "log") | {"logfile": name, "vehicle": "", "date_captured": "", "location": self._location}
        )
        self._rows["scene"].append(
            _row(name, "scene")
            | {
                "log_token": table_token(name, "log"),
                "nbr_samples": len(samples),
                "first_sample_token": samples[0]["token"],
                "last_sample_token": samples[-1]["token"],
                "name": name,
                "description": description,
            }
        )
        self._add_files(name, keyframes, samples)
        self._add_boxes(name, keyframes, samples)

    def write(self, out: Path, version: str, extra: Mapping[str, Sequence[dict]] | None = None) -> None:
        """Write all tables into `out`/`version`; `extra`: tables that nuScenes does not have. The scenes come last:
        who finds them finds everything."""
        tables = self._rows | {name: list(rows.values()) for name, rows in self._by_token.items()}
        logs = [row["token"] for row in tables["log"]]
        tables["map"] = [_row("map") | {"log_tokens": logs, "category": "semantic_prior", "filename": ""}]
        tables |= {name: list(rows) for name, rows in (extra or {}).items()}
        for name in sorted(tables, key=lambda name: name == "scene"):
            write_text(out / version / f"{name}.json", json.dumps(tables[name]))

    def _add_files(self, scene: str, keyframes: Sequence[WrittenKeyframe], samples: Sequence[dict]) -> None:
        chains: dict[str, list[dict]] = {}
        for frame, sample in zip(keyframes, samples, strict=True):
            for file in frame.files:
                token = table_token(scene, file.sensor.name, file.stamp_us)
                chains.setdefault(file.sensor.name, []).append(
                    {"token": token, "ego_pose_token": token, "sample_token": sample["token"]}
                    | self._calibrated(scene, file.sensor)
                    | _file_fields(file)
                )
                pose = {"token": token, "timestamp": file.stamp_us} | _pose_fields(file.global_from_ego)
                self._rows["ego_pose"].append(pose)
        for rows in chains.values():
            self._rows["sample_data"] += linked_rows(sorted(rows, key=lambda row: row["timestamp"]))

    def _calibrated(self, scene: str, sensor: Camera | MountedLidar) -> dict:
        """The reference to a sensor's calibration in a scene, whose row is added where it is new."""
        is_camera = isinstance(sensor, Camera)
        mounting = sensor.ego_from_camera if is_camera else sensor.ego_from_lidar
        intrinsics = sensor.integer_centred_intrinsics().tolist() if is_camera else []
        row = {"sensor_token": table_token("sensor", sensor.name), "camera_intrinsic": intrinsics} | _pose_fields(
            mounting
        )
        if is_camera and sensor.distortion_model != "none":
            row |= {"distortion_model": sensor.distortion_model, "distortion": list(sensor.distortion)}
        token = table_token(scene, "calibrated", sensor.name, json.dumps(row))
        self._by_token["calibrated_sensor"].setdefault(token, {"token": token} | row)
        self._by_token["sensor"].setdefault(
            row["sensor_token"],
            {"token": row["sensor_token"], "channel": sensor.name, "modality": "camera" if is_camera else "lidar"},
        )
        return {"calibrated_sensor_token": token}

    def _add_boxes(self, scene: str, keyframes: Sequence[WrittenKeyframe], samples: Sequence[dict]) -> None:
        tracks: dict[tuple[str, str], list[dict]] = {}
        for frame, sample in zip(keyframes, samples, strict=True):
            for index, box in enumerate(frame.boxes):
                track = f"{box.category}/{box.track}" if box.track else f"{sample['token']}/{index}"
                row = _row(scene, "annotation", sample["token"], index) | _box_fields(box)
                row |= {"sample_token": sample["token"], "instance_token": table_token(scene, "instance", track)}
                row["attribute_tokens"] = [self._named("attribute", name) for name in box.attributes]
                tracks.setdefault((track, box.category), []).append(row)
        for (track, category), rows in tracks.items():
            token = self._named("category", category)
            self._rows["instance"].append(
                _row(scene, "instance", track)
                | {
                    "category_token": token,
                    "nbr_annotations": len(rows),
                    "first_annotation_token": rows[0]["token"],
                    "last_annotation_token": rows[-1]["token"],
                }
            )
            self._rows["sample_annotation"] += linked_rows(rows)

    def _named(self, table: str, name: str) -> str:
        """The token of a category or attribute, whose row is added where it is new."""
        token = table_token(table, name)
        self._by_token[table].setdefault(token, {"token": token, "name": name, "description": ""})
        return token


def table_token(*parts: object) -> str:
    """A 32-digit token that depends only on `parts`: of a file, scene, channel and stamp in microseconds."""
    return hashlib.md5("/".join(str(part) for part in parts).encode(), usedforsecurity=False).hexdigest()


def sample_token(scene: str, stamp_us: int) -> str:
    """The token of a written keyframe."""
    return table_token(scene, "sample", stamp_us)


def _row(*parts: object) -> dict:
    return {"token": table_token(*parts)}


def linked_rows(rows: list[dict]) -> list[dict]:
    """The rows, in order, with the tokens of their neighbours as prev and next."""
    tokens = ["", *(row["token"] for row in rows), ""]
    for before, row, after in zip(tokens, rows, tokens[2:], strict=False):
        row |= {"prev": before, "next": after}
    return rows


def _pose_fields(transform: np.ndarray) -> dict:
    return {"rotation": quaternion_of(transform).tolist(), "translation": transform[:3, 3].tolist()}


def _file_fields(file: SensorFile) -> dict:
    is_camera = isinstance(file.sensor, Camera)
    fields = {
        "timestamp": file.stamp_us,
        "fileformat": Path(file.filename).suffix.lstrip("."),
        "is_key_frame": file.keyframe,
        "width": file.sensor.width if is_camera else 0,
        "height": file.sensor.height if is_camera else 0,
        "filename": file.filename,
    }
    return fields if is_camera else fields | {"columns": list(file.sensor.columns)}


def _box_fields(box: LabelledBox) -> dict:
    length, width, height = (float(value) for value in box.size)
    return {
        "visibility_token": box.visibility,
        "translation": [float(value) for value in box.center],
        "size": [width, length, height],
        "rotation": quaternion_from_yaw(box.yaw).tolist(),
        "num_lidar_pts": box.points,
        "num_radar_pts": 0,
        **box.extra,
    }
