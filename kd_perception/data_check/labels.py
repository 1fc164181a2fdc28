"""All annotations of a data set as arrays, with the motion that their tracks show."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.geometry.transforms import make_transform

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

LONGEST_S = 1.5  # between two annotations of a track: over longer times objects turn


@dataclass(frozen=True, eq=False)
class LabelArrays:
    """N annotations: token, sample, track and category (N,) str; center (N, 3) and yaw (N,) in the tables' global
    frame; size (N, 3) length, width, height.

    displacement (N, 2): velocity over ground in m/s from the track's neighbours, NaN without; stated (N, 2): the
    velocity that the row states (`velocity_global`), NaN where it states none; points (N,): LiDAR and RADAR points by
    the tables, -1 where unknown.
    """

    token: np.ndarray
    sample: np.ndarray
    track: np.ndarray
    category: np.ndarray
    center: np.ndarray
    size: np.ndarray
    yaw: np.ndarray
    displacement: np.ndarray
    stated: np.ndarray
    points: np.ndarray

    def __len__(self) -> int:
        return len(self.yaw)

    def __getitem__(self, index: np.ndarray) -> "LabelArrays":
        """The annotations that a mask or an index array selects."""
        return LabelArrays(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def categories(self) -> list[str]:
        """Categories that occur, the most frequent first."""
        names, counts = np.unique(self.category, return_counts=True)
        return [str(name) for name in names[np.argsort(-counts, kind="stable")]]

    @property
    def turn(self) -> np.ndarray:
        """Radians (N,) in [-pi, pi) from the heading to the direction of motion."""
        direction = np.arctan2(self.displacement[:, 1], self.displacement[:, 0])
        return (direction - self.yaw + np.pi) % (2.0 * np.pi) - np.pi

    @property
    def speed(self) -> np.ndarray:
        """Metres per second (N,) by displacement, NaN where unknown."""
        return np.linalg.norm(self.displacement, axis=1)


def read_label_arrays(nusc: "Tables", samples: Sequence[str]) -> LabelArrays:
    """The annotations of the samples, in order."""
    rows = [nusc.get("sample_annotation", token) for sample in samples for token in nusc.get("sample", sample)["anns"]]
    rotations = [make_transform(np.asarray(row["rotation"]), np.zeros(3)) for row in rows]
    size = np.array([row["size"] for row in rows]).reshape(-1, 3)
    return LabelArrays(
        token=np.array([row["token"] for row in rows], dtype=object),
        sample=np.array([row["sample_token"] for row in rows], dtype=object),
        track=np.array([row["instance_token"] for row in rows], dtype=object),
        category=np.array([row["category_name"] for row in rows], dtype=object),
        center=np.array([row["translation"] for row in rows]).reshape(-1, 3),
        size=size[:, [1, 0, 2]],
        yaw=np.array([np.arctan2(rotation[1, 0], rotation[0, 0]) for rotation in rotations]),
        displacement=np.array([_displacement(nusc, row) for row in rows]).reshape(-1, 2),
        stated=np.array([(row.get("velocity_global") or [np.nan] * 2)[:2] for row in rows], float).reshape(-1, 2),
        points=np.array([row["num_lidar_pts"] + row["num_radar_pts"] for row in rows], np.int64),
    )


def _displacement(nusc: "Tables", row: dict) -> list[float]:
    """Metres per second between the neighbours of a track, or to the one there is."""
    neighbours = [nusc.get("sample_annotation", row[key]) if row[key] else row for key in ("prev", "next")]
    stamps = [nusc.get("sample", entry["sample_token"])["timestamp"] / 1e6 for entry in neighbours]
    seconds = stamps[1] - stamps[0]
    steps = (row["prev"] != "") + (row["next"] != "")
    if not 0.0 < seconds <= LONGEST_S * steps:
        return [np.nan, np.nan]
    first, last = (np.asarray(entry["translation"][:2]) for entry in neighbours)
    return ((last - first) / seconds).tolist()
