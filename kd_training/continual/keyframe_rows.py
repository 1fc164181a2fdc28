"""A kept keyframe as rows of nuScenes' tables that need no others: a scene of one sample.

Its sweeps are what came before: older clouds for a teacher, and one earlier moment of the cameras for students with
memory (BEVDet4D), which is never a keyframe and never scored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kd_perception.datasets.nuscenes import annotations
from kd_perception.datasets.written_tables import linked_rows, table_token
from kd_perception.geometry.transforms import quaternion_from_yaw
from kd_training.config.continual import BufferConfig
from kd_training.data.frames import TrainingFrame
from kd_training.data.older_sweeps import older_sweeps

SHARED = ("sensor", "category", "attribute", "visibility")  # rows that keyframes have in common
NEIGHBOUR_RANGE = (0.5, 2.0)  # of the wanted age: an earlier moment outside is none
# What the reader adds to rows.
DERIVED = {
    "sample_data": ("sensor_modality", "channel"),
    "sample_annotation": ("category_name",),
    "log": ("map_token",),
}


@dataclass(frozen=True)
class KeyframeRows:
    """Rows by table, and the files that they name: source by name below the buffer's folder."""

    sample: str
    tables: dict[str, list[dict]]
    files: dict[str, Path] = field(repr=False)


def keyframe_rows(frame: TrainingFrame, name: str, settings: BufferConfig) -> KeyframeRows:
    """The rows of a keyframe as the scene `name`, whose tokens follow from that name."""
    return _Rows(frame, name).collected(settings)


def known_categories(frame: TrainingFrame) -> tuple[str, ...]:
    """The categories that a keyframe's labels cover: those of its class list."""
    return tuple(sorted(frame.boxes.classes.label_of_category))


class _Rows:
    """Collects a keyframe's rows."""

    def __init__(self, frame: TrainingFrame, name: str) -> None:
        self.frame, self.nusc, self.name = frame, frame.nusc, name
        self.source = frame.nusc.get("sample", frame.frame.sample_token)
        self.sample = self._token("sample")
        self.tables: dict[str, dict[str, dict]] = {}
        self.files: dict[str, Path] = {}

    def collected(self, settings: BufferConfig) -> KeyframeRows:
        """All of them."""
        self._add_scene()
        self._add_sensor_data(settings)
        for index, row in enumerate(self._labelled() if self.frame.labelled else self._found()):
            self._add_box(index, row)
        for row in self.nusc.visibility:
            self._add("visibility", row)
        tables = {name: list(rows.values()) for name, rows in self.tables.items()}
        return KeyframeRows(self.sample, tables, self.files)

    def _token(self, *parts: object) -> str:
        return table_token(self.name, *parts)

    def _add(self, table: str, row: Mapping) -> str:
        """Add a row where its token is new, and return the token."""
        own = {key: row[key] for key in row if key not in DERIVED.get(table, ())}
        self.tables.setdefault(table, {}).setdefault(row["token"], own)
        return row["token"]

    def _named(self, table: str, row: Mapping, name: str) -> str:
        """Add a row that keyframes share by its name."""
        return self._add(table, {**row, "token": table_token(table, name)})

    def _add_scene(self) -> None:
        scene = self.nusc.get("scene", self.source["scene_token"])
        log = {**self.nusc.get("log", scene["log_token"]), "token": self._token("log")}
        self._add("log", log)
        only = {"first_sample_token": self.sample, "last_sample_token": self.sample, "nbr_samples": 1}
        own = {"token": self._token("scene"), "name": self.name, "log_token": log["token"]}
        self._add("scene", {**scene, **own, **only})
        row = {"token": self.sample, "scene_token": own["token"], "timestamp": self.source["timestamp"]}
        self._add("sample", row | {"prev": "", "next": ""})

    def _add_sensor_data(self, settings: BufferConfig) -> None:
        channels: dict[str, list[dict]] = {}
        for row, is_key in self._measurements(settings):
            own = self._calibrated(row) | self._posed(row) | self._filed(row, is_key=is_key)
            own |= {"token": self._token(row["token"]), "sample_token": self.sample, "is_key_frame": is_key}
            channels.setdefault(row["channel"], []).append({**row, **own})
        for rows in channels.values():
            for row in linked_rows(sorted(rows, key=lambda entry: entry["timestamp"])):
                self._add("sample_data", row)

    def _measurements(self, settings: BufferConfig) -> Iterator[tuple[dict, bool]]:
        """Rows of sample_data, and whether they are the keyframe's own."""
        for number in self.nusc.key_rows(self.frame.frame.sample_token).values():
            yield self.nusc.sample_data[int(number)], True
        older = older_sweeps(self.frame, settings.sweeps) if self.frame.lidars else []
        for row in (*older, *neighbour_rows(self.frame, settings.neighbour)):
            yield row, False

    def _calibrated(self, row: Mapping) -> dict:
        calibration = self.nusc.get("calibrated_sensor", row["calibrated_sensor_token"])
        sensor = self.nusc.get("sensor", calibration["sensor_token"])
        named = self._named("sensor", sensor, sensor["channel"])
        own = {**calibration, "sensor_token": named, "token": self._token(calibration["token"])}
        return {"calibrated_sensor_token": self._add("calibrated_sensor", own)}

    def _posed(self, row: Mapping) -> dict:
        pose = self.nusc.get("ego_pose", row["ego_pose_token"])
        return {"ego_pose_token": self._add("ego_pose", {**pose, "token": self._token("pose", pose["token"])})}

    def _filed(self, row: Mapping, *, is_key: bool) -> dict:
        folder, source = "samples" if is_key else "sweeps", Path(row["filename"])
        name = f"{folder}/{row['channel']}/{self.name}__{source.name}"
        self.files[name] = Path(self.nusc.dataroot) / source
        return {"filename": name}

    def _labelled(self) -> Iterator[dict]:
        """The annotations of the classes, with the velocities that their neighbours in time gave them."""
        classes = self.frame.boxes.classes
        rows = [self.nusc.get("sample_annotation", token) for token in self.source["anns"]]
        rows = [row for row in rows if row["category_name"] in classes.label_of_category]
        velocities = annotations(self.nusc, self.frame.frame.sample_token, classes).boxes.velocity
        for row, velocity in zip(rows, velocities, strict=True):
            names = [self.nusc.get("attribute", token)["name"] for token in row["attribute_tokens"]]
            yield {**row, "velocity_global": _known(velocity), "attribute_tokens": names}

    def _found(self) -> Iterator[dict]:
        """A teacher's boxes, which have no attributes; how many points they hold was not counted."""
        boxes = self.frame.boxes.transformed(self.frame.frame.global_from_ego)
        for index in range(len(boxes)):
            length, width, height = map(float, boxes.size[index])
            yield {
                "category_name": boxes.class_of(index).categories[0],
                "visibility_token": "",
                "attribute_tokens": [],
                "translation": boxes.center[index].tolist(),
                "size": [width, length, height],
                "rotation": quaternion_from_yaw(float(boxes.yaw[index])).tolist(),
                "velocity_global": _known(boxes.velocity[index]),
                "num_lidar_pts": None,
                "num_radar_pts": 0,
                "teacher_score": float(boxes.score[index]),
            }

    def _add_box(self, index: int, row: dict) -> None:
        category, token, instance = row["category_name"], self._token("box", index), self._token("instance", index)
        named = self._named("category", {"name": category, "description": ""}, category)
        once = {"first_annotation_token": token, "last_annotation_token": token, "nbr_annotations": 1}
        self._add("instance", {"token": instance, "category_token": named} | once)
        attributes = [
            self._named("attribute", {"name": name, "description": ""}, name) for name in row["attribute_tokens"]
        ]
        own = {"token": token, "sample_token": self.sample, "instance_token": instance, "prev": "", "next": ""}
        self._add("sample_annotation", {**row, **own, "attribute_tokens": attributes})


def neighbour_rows(frame: TrainingFrame, age_s: float) -> Sequence[dict]:
    """The cameras' rows of sample_data of the moment of the scene that lies nearest to `age_s` seconds before a
    keyframe; none where nothing was taken about then, or for 0."""
    line, stamp = frame.timeline, frame.frame.timestamp_us
    indices = line.earlier(stamp, NEIGHBOUR_RANGE[0] * age_s, NEIGHBOUR_RANGE[1] * age_s) if age_s > 0.0 else []
    if not len(indices):
        return []
    nearest = indices[np.abs((stamp - line.stamps_us[indices]) / 1e6 - age_s).argmin()]
    return [frame.nusc.sample_data[int(row)] for row in line.exposures[nearest] if row >= 0]


def _known(velocity: np.ndarray) -> list[float] | None:
    return velocity.tolist() if np.isfinite(velocity).all() else None
