"""What is wanted of each row of the large tables: types of rows that are as nuScenes has them, and columns of those.

A row that is of its type is fine in itself, as checks.py means it, except where its column `doubtful` says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

import msgspec
import numpy as np

from kd_perception.datasets.checks import SMALLEST
from kd_perception.datasets.token_hashes import token_hashes

UNKNOWN = -1  # number of a row that is not there
UNKNOWN_POINTS = -1  # what the devkit takes for "not counted": its filter keeps such boxes
LARGEST = 1e100  # of numbers that can be added up
Text = Annotated[str, msgspec.Meta(min_length=1)]
Number = Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Length = Annotated[float, msgspec.Meta(gt=0, le=LARGEST)]
Stamp = Annotated[int, msgspec.Meta(ge=0, le=10**17)]
Count = Annotated[int, msgspec.Meta(ge=-(10**8), le=10**8)]
Columns = dict[str, np.ndarray]


class TokenRow(msgspec.Struct, gc=False):
    """A row of any table."""

    token: Text


class InstanceRow(TokenRow, gc=False):
    """A row of instance.json."""

    category_token: str


class PoseRow(TokenRow, gc=False):
    """A row of ego_pose.json."""

    rotation: tuple[Number, Number, Number, Number]
    translation: tuple[Number, Number, Number]


class FileRow(TokenRow, gc=False):
    """A row of sample_data.json."""

    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: Stamp
    is_key_frame: bool
    width: Number | None = None
    height: Number | None = None


class BoxRow(TokenRow, gc=False):
    """A row of sample_annotation.json."""

    sample_token: str
    instance_token: str
    rotation: tuple[Number, Number, Number, Number]
    translation: tuple[Number, Number, Number]
    size: tuple[Length, Length, Length]
    attribute_tokens: list[str] = []
    prev: str | None = None
    next: str | None = None
    num_lidar_pts: Count | None = None
    num_radar_pts: Count | None = None


@dataclass(frozen=True)
class SmallNumbers:
    """Numbers of the rows of small tables by token, and attributes' tokens."""

    sample: Mapping[str, int]
    calibrated_sensor: Mapping[str, int]
    category: Mapping[str, int]
    attributes: frozenset[str]

    @classmethod
    def of(cls, small: Mapping[str, Sequence[dict]]) -> "SmallNumbers":
        """Those of tables by name."""
        numbers = {
            name: {row["token"]: number for number, row in enumerate(small[name])}
            for name in ("sample", "calibrated_sensor", "category")
        }
        return cls(**numbers, attributes=frozenset(row["token"] for row in small["attribute"]))


def instance_columns(rows: Sequence[InstanceRow], small: SmallNumbers) -> Columns:
    """category (n,): number of its row."""
    return {"category": _numbers(small.category, [row.category_token for row in rows])}


def pose_columns(rows: Sequence[PoseRow], small: SmallNumbers) -> Columns:
    """doubtful (n,): whether its rotation is none."""
    del small
    return {"doubtful": _small_rotations(rows)}


def file_columns(rows: Sequence[FileRow], small: SmallNumbers) -> Columns:
    """sample, calibration (n,): numbers of rows; stamp (n,) in microseconds; key (n,) and sized (n,), whether it has a
    picture's width and height; pose (n,): hash of the pose's token."""
    return {
        "sample": _numbers(small.sample, [row.sample_token for row in rows]),
        "calibration": _numbers(small.calibrated_sensor, [row.calibrated_sensor_token for row in rows]),
        "stamp": np.array([row.timestamp for row in rows], np.int64),
        "key": np.array([row.is_key_frame for row in rows], bool),
        "sized": np.array([(row.width or 0) > 0 and (row.height or 0) > 0 for row in rows], bool),
        "pose": token_hashes([row.ego_pose_token for row in rows]),
    }


def box_columns(rows: Sequence[BoxRow], small: SmallNumbers) -> Columns:
    """sample (n,): number of its row; instance (n,): hash of its token; points (n,) of LiDAR and RADAR.

    prev, next (n,): hashes, and has_prev, has_next (n,); doubtful (n,): whether its rotation is none or an attribute
    unknown.
    """
    unknown = [not small.attributes.issuperset(row.attribute_tokens) for row in rows]
    columns = {
        "sample": _numbers(small.sample, [row.sample_token for row in rows]),
        "instance": token_hashes([row.instance_token for row in rows]),
        "points": np.array(
            [
                UNKNOWN_POINTS if row.num_lidar_pts is None else row.num_lidar_pts + (row.num_radar_pts or 0)
                for row in rows
            ],
            np.int32,
        ),
        "doubtful": _small_rotations(rows) | np.array(unknown, bool),
    }
    for name in ("prev", "next"):
        tokens = [getattr(row, name) for row in rows]
        has = np.array(tokens, object).astype(bool)
        columns[f"has_{name}"] = has
        columns[name] = np.zeros(len(rows), np.uint64)
        columns[name][has] = token_hashes([token for token in tokens if token])
    return columns


def _numbers(known: Mapping[str, int], tokens: Sequence[str]) -> np.ndarray:
    return np.array([known.get(token, UNKNOWN) for token in tokens], np.int32)


def _small_rotations(rows: Sequence[PoseRow | BoxRow]) -> np.ndarray:
    """Whether each quaternion (n,) is as good as zero."""
    parts = np.fromiter(chain.from_iterable(row.rotation for row in rows), np.float64, 4 * len(rows))
    return np.abs(parts.reshape(-1, 4)).max(axis=1) <= SMALLEST
