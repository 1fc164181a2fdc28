"""Detections as a nuScenes detection result file, and back.

The file's boxes are global, size (w, l, h), rotation quaternion (w, x, y, z), velocity (vx, vy), at most 500 a sample
(nuscenes-devkit, "Results format"). This module is that edge: `Boxes` in ego on one side, the file on the other.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kd_perception.atomic import write_text
from kd_perception.errors import DataError
from kd_perception.evaluation.result_folder import ResultRow
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import invert, make_transform, quaternion_from_yaw, yaw_of

LEAST_QUATERNION = 1e-3  # length below which a rotation is none
MAX_BOXES_PER_SAMPLE = 500  # the metric refuses more
META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}

Results = dict[str, list[ResultRow]]  # sample token -> detections


def sample_result(
    sample_token: str, boxes: Boxes, global_from_ego: np.ndarray, attributes: Sequence[str] | None = None
) -> list[ResultRow]:
    """One sample's detections as the result file has them, best score first, at most MAX_BOXES_PER_SAMPLE.

    `boxes` are in ego at the time of `global_from_ego` (4, 4). Without `attributes` each box gets the most likely one
    for its class and speed.
    """
    best = np.argsort(-boxes.score, kind="stable")[:MAX_BOXES_PER_SAMPLE]
    in_global = boxes[best].transformed(global_from_ego)
    kinds = [in_global.class_of(index) for index in range(len(in_global))]
    if attributes is None:
        speeds = np.linalg.norm(in_global.velocity, axis=1)
        chosen = [kind.attribute(float(speed)) for kind, speed in zip(kinds, speeds, strict=True)]
    else:
        chosen = [attributes[index] for index in best]
    return [
        {
            "sample_token": sample_token,
            "translation": in_global.center[i].tolist(),
            "size": in_global.size[i, [1, 0, 2]].tolist(),
            "rotation": quaternion_from_yaw(in_global.yaw[i]).tolist(),
            "velocity": in_global.velocity[i].tolist(),
            "detection_name": kinds[i].name,
            "detection_score": float(in_global.score[i]),
            "attribute_name": chosen[i],
        }
        for i in range(len(in_global))
    ]


def boxes_of_result(
    detections: Sequence[ResultRow], global_from_ego: np.ndarray, classes: ClassList = NUSCENES
) -> Boxes:
    """The boxes in ego of one sample's entries of a result file; the inverse of `sample_result`.

    Raises ConfigError for a name that is none of `classes`.
    """
    if not detections:
        return Boxes.empty(classes)
    width, length, height = np.array([row["size"] for row in detections], dtype=np.float64).T
    in_global = Boxes(
        center=np.array([row["translation"] for row in detections], dtype=np.float64),
        size=np.stack([length, width, height], axis=1),
        yaw=np.array([yaw_of(make_transform(np.asarray(row["rotation"]), np.zeros(3))) for row in detections]),
        velocity=np.array([row["velocity"] for row in detections], dtype=np.float64),
        label=np.array([classes.label(row["detection_name"]) for row in detections], dtype=np.int64),
        score=np.array([row["detection_score"] for row in detections], dtype=np.float64),
        classes=classes,
    )
    return in_global.transformed(invert(global_from_ego))


def write_results(path: Path, results: Mapping[str, list[ResultRow]], meta: Mapping[str, bool] | None = None) -> None:
    """Write a result file atomically; `meta` states which inputs were used (default: cameras only)."""
    write_text(path, json.dumps({"meta": dict(meta or META), "results": dict(results)}))


def read_results(path: Path) -> Results:
    """Read a result file; raises DataError if it is absent or not one, naming the sample and box that is wrong."""
    results = _read(path)["results"]
    for token, rows in results.items():
        if not isinstance(rows, list):
            raise DataError(
                f"{path}: sample {token} has {json.dumps(rows)[:40]}; give a list of boxes, empty where nothing was "
                "detected"
            )
        for number, row in enumerate(rows):
            if fault := _fault(row):
                raise DataError(f"{path}: box {number} of sample {token} {fault}")
    return results


def _fault(row: object) -> str:
    """What is wrong with a box of a result file, with the remedy; empty if nothing is."""
    if not isinstance(row, dict):
        return f"is {json.dumps(row)[:40]}; write it again with kd eval"
    if "detection_name" not in row and "tracking_name" in row:
        return "has a tracking_name: it is a tracking result; give detections"
    for key, count in (("translation", 3), ("size", 3), ("rotation", 4), ("velocity", 2)):
        if not _numbers(row.get(key), count):
            remedy = "give [0, 0] where it is unknown" if key == "velocity" else "write the file again"
            return f"has {key} {json.dumps(row.get(key))[:60]} in place of {count} numbers; {remedy}"
    if not all(map(math.isfinite, (*row["translation"], *row["size"], *row["rotation"]))) or min(row["size"]) <= 0.0:
        return (
            f"has translation {row['translation']}, size {row['size']} and rotation {row['rotation']}: all are finite, "
            "and size is above 0; write the file again"
        )
    if math.hypot(*row["rotation"]) < LEAST_QUATERNION:
        return "has a rotation of zero, which is no quaternion; give [1, 0, 0, 0] where it does not turn"
    if not isinstance(row.get("detection_name"), str):
        return f"has detection_name {json.dumps(row.get('detection_name'))}; name its class"
    if not _numbers([row.get("detection_score")], 1) or not math.isfinite(row["detection_score"]):
        return f"has detection_score {json.dumps(row.get('detection_score'))}; give a number from 0 to 1"
    return ""


def _numbers(values: object, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(type(value) in (int, float) for value in values)


def read_meta(path: Path) -> dict[str, bool]:
    """What a result file says of the inputs that were used; raises DataError as `read_results`."""
    return _read(path).get("meta", {})


def _read(path: Path) -> dict:
    try:
        content = json.loads(Path(path).read_text())
        if not isinstance(content["results"], dict):
            raise TypeError("its results are no mapping of samples")
        return content
    except FileNotFoundError as error:
        raise DataError(f"result file {path} does not exist; write one with kd eval") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no nuScenes result file ({error}); write it again with kd eval") from error
