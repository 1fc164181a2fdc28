"""The one box of this project.

A box is its geometric centre, its size (length, width, height) and its yaw, counter-clockwise about +z, in REP-103 axes
(x forward, y left, z up), with the velocity over ground in the same axes. Other conventions (nuScenes' wlh quaternions,
ROS messages) are converted where they enter and leave, never inside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kd_perception.geometry.classes import NUSCENES, ClassList, ObjectClass
from kd_perception.geometry.transforms import apply, wrap_angle

ARRAYS = ("center", "size", "yaw", "velocity", "label", "score")


@dataclass(frozen=True)
class Boxes:
    """N boxes in one frame, as arrays, and the class list that their labels point into.

    center (N, 3) metres; size (N, 3) length, width, height in metres; yaw (N,) radians; velocity (N, 2) metres per
    second over ground, NaN where unknown; label (N,) index into `classes`; score (N,) in [0, 1], 1 for ground
    truth.
    """

    center: np.ndarray
    size: np.ndarray
    yaw: np.ndarray
    velocity: np.ndarray
    label: np.ndarray
    score: np.ndarray
    classes: ClassList = NUSCENES

    def __post_init__(self) -> None:
        count = len(self.yaw)
        for name, shape in (
            ("center", (count, 3)),
            ("size", (count, 3)),
            ("velocity", (count, 2)),
            ("label", (count,)),
            ("score", (count,)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"Boxes.{name} has shape {getattr(self, name).shape}, but {count} boxes need {shape}")

    def __len__(self) -> int:
        return len(self.yaw)

    def __getitem__(self, index: np.ndarray | slice) -> "Boxes":
        """The boxes a mask, an index array or a slice selects."""
        return replace(self, **{name: getattr(self, name)[index] for name in ARRAYS})

    @staticmethod
    def empty(classes: ClassList = NUSCENES) -> "Boxes":
        """No boxes."""
        arrays = (np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0))
        return Boxes(*arrays, classes)

    @staticmethod
    def concatenate(parts: Sequence["Boxes"], classes: ClassList = NUSCENES) -> "Boxes":
        """All boxes of `parts`, in order, which must be in the same frame; `classes` are those of no parts at all.

        Raises ValueError for parts of different class lists: their labels do not mean the same.
        """
        if not parts:
            return Boxes.empty(classes)
        classes = parts[0].classes
        if any(part.classes is not classes and part.classes != classes for part in parts):
            raise ValueError("boxes of different class lists cannot be put together")
        return Boxes(*(np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS), classes)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The fields that have a row a box, by name."""
        return {name: getattr(self, name) for name in ARRAYS}

    def class_of(self, index: int) -> ObjectClass:
        """The class of one box."""
        return self.classes.classes[self.label[index]]

    def transformed(self, target_from_source: np.ndarray) -> "Boxes":
        """The same boxes in another frame whose z axis is nearly parallel; a mirrored one counts, too.

        Roll and pitch move the centre but do not tilt the box: its heading and velocity turn by the rotation about z
        that is nearest to the transform (swing-twist), so that going there and back restores them exactly.
        """
        left, _, right = np.linalg.svd(target_from_source[:2, :2])
        planar = left @ right  # the orthogonal 2x2 matrix nearest to the transform's
        heading = np.stack([np.cos(self.yaw), np.sin(self.yaw)], axis=1) @ planar.T
        return replace(
            self,
            center=apply(target_from_source, self.center),
            yaw=wrap_angle(np.arctan2(heading[:, 1], heading[:, 0])),
            velocity=self.velocity @ planar.T,
        )

    def corners(self) -> np.ndarray:
        """Corners (N, 8, 3) in the boxes' frame.

        0-3 are the bottom face, 4-7 the top; each face goes front-left, front-right, rear-right, rear-left.
        """
        signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]], dtype=np.float64)
        unit = np.concatenate([np.column_stack([signs, np.full(4, z)]) for z in (-1.0, 1.0)])
        local = unit[None] * (self.size[:, None] / 2.0)
        cos, sin = np.cos(self.yaw)[:, None], np.sin(self.yaw)[:, None]
        x = cos * local[..., 0] - sin * local[..., 1]
        y = sin * local[..., 0] + cos * local[..., 1]
        return np.stack([x, y, local[..., 2]], axis=-1) + self.center[:, None]
