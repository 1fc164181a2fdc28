"""The large tables as they are read for the index: columns of all rows, and which rows are in doubt.

Only rows in doubt are looked at one by one (checks.py); what columns can tell of all rows at once, they tell here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from kd_perception.datasets.checks import LONGEST_US
from kd_perception.datasets.row_blocks import RowBlock, read_blocks
from kd_perception.datasets.row_types import (
    UNKNOWN,
    BoxRow,
    Columns,
    FileRow,
    InstanceRow,
    PoseRow,
    SmallNumbers,
    box_columns,
    file_columns,
    instance_columns,
    pose_columns,
)
from kd_perception.datasets.token_hashes import token_hashes

READ: Mapping[str, tuple[type[msgspec.Struct], Callable[[Sequence[msgspec.Struct], SmallNumbers], Columns]]] = {
    "instance": (InstanceRow, instance_columns),
    "ego_pose": (PoseRow, pose_columns),
    "sample_data": (FileRow, file_columns),
    "sample_annotation": (BoxRow, box_columns),
}
LARGE = tuple(READ)  # tables that are not held in memory


def read_large(folder: Path, small: SmallNumbers) -> dict[str, Columns]:
    """Columns of each large table by name; raises as read_blocks.

    All have start and length (n,) in bytes, hash (n,) of the token, and odd (n,): whether the row is not of its type;
    an odd row's other columns, those of row_types.py, are zero.
    """
    return {name: _read(folder / f"{name}.json", name, small) for name in LARGE}


def _read(path: Path, name: str, small: SmallNumbers) -> Columns:
    row_type, columns_of = READ[name]
    nothing = columns_of([], small)
    parts = [_located(RowBlock(np.zeros(0, np.int64), np.zeros(0, np.int32), [], typed=True)) | nothing]
    for block in read_blocks(path, row_type):
        zero = {column: np.zeros(len(block.rows), array.dtype) for column, array in nothing.items()}
        parts.append(_located(block) | (columns_of(block.rows, small) if block.typed else zero))
    return {column: np.concatenate([part.pop(column) for part in parts]) for column in list(parts[0])}


def _located(block: RowBlock) -> Columns:
    tokens = [row.token for row in block.rows] if block.typed else [str(row.get("token")) for row in block.rows]
    odd = np.full(len(block.rows), not block.typed)
    return {"start": block.start, "length": block.length, "hash": token_hashes(tokens), "odd": odd}


class TokenIndex:
    """Rows of a table by the hash of their token."""

    def __init__(self, hashes: np.ndarray) -> None:
        self.order = np.argsort(hashes, kind="stable").astype(np.int32)
        self.hashes = hashes[self.order]

    def find(self, wanted: np.ndarray) -> np.ndarray:
        """The number (n,) of the last row of each hash, UNKNOWN where there is none."""
        if not len(self.hashes):
            return np.full(len(wanted), UNKNOWN)
        place = np.searchsorted(self.hashes, wanted, "right") - 1  # -1 is the largest hash, which is not that one
        return np.where(self.hashes[place] == wanted, self.order[place], UNKNOWN)

    def shared(self) -> np.ndarray:
        """Whether each row (n,) has its hash in common with another."""
        same = self.hashes[1:] == self.hashes[:-1]
        found = np.zeros(len(self.hashes), bool)
        found[self.order[1:][same]] = True
        found[self.order[:-1][same]] = True
        return found


def rows_in_doubt(
    tables: Mapping[str, Columns], by_token: Mapping[str, TokenIndex], small: Mapping[str, Sequence[dict]]
) -> dict[str, np.ndarray]:
    """Numbers of the rows of each large table that must be looked at one by one; the others are fine."""
    stamps_us = np.array([_number(row.get("timestamp")) for row in small["sample"]] or [np.nan])
    doubt = {
        "instance": tables["instance"]["category"] == UNKNOWN,
        "ego_pose": tables["ego_pose"]["doubtful"],
        "sample_data": _files_in_doubt(tables["sample_data"], by_token["ego_pose"], small, stamps_us),
        "sample_annotation": _boxes_in_doubt(tables["sample_annotation"], by_token, stamps_us),
    }
    return {name: np.flatnonzero(tables[name]["odd"] | by_token[name].shared() | doubt[name]) for name in LARGE}


def _files_in_doubt(
    files: Columns, poses: TokenIndex, small: Mapping[str, Sequence[dict]], stamps_us: np.ndarray
) -> np.ndarray:
    cameras = {row["token"] for row in small["sensor"] if row.get("modality") == "camera"}
    is_camera = np.array([row.get("sensor_token") in cameras for row in small["calibrated_sensor"]] or [False])
    distance_us = np.abs(files["stamp"] - stamps_us[files["sample"]])
    in_time = (files["sample"] != UNKNOWN) & (distance_us < 0.9 * LONGEST_US)
    return (
        (files["calibration"] == UNKNOWN)
        | (poses.find(files["pose"]) == UNKNOWN)
        | (files["key"] & ~in_time)
        | (is_camera[files["calibration"]] & ~files["sized"])
    )


def _boxes_in_doubt(boxes: Columns, by_token: Mapping[str, TokenIndex], stamps_us: np.ndarray) -> np.ndarray:
    doubt = boxes["doubtful"] | (boxes["sample"] == UNKNOWN) | (by_token["instance"].find(boxes["instance"]) == UNKNOWN)
    for name in ("prev", "next"):
        rows = np.flatnonzero(boxes[f"has_{name}"])
        found = by_token["sample_annotation"].find(boxes[name][rows])
        doubt[rows] |= (found == UNKNOWN) | boxes["odd"][found]
        if name == "next":
            doubt[rows] |= ~(stamps_us[boxes["sample"][found]] > stamps_us[boxes["sample"][rows]])
    return doubt


def _number(stamp: object) -> float:
    return float(stamp) if isinstance(stamp, int | float) else np.nan
