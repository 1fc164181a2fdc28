"""What the channels of `regression` mean: a box at its cell as numbers, and back, in NumPy.

dx, dy              box centre minus cell centre, in cells
z                   height of the box centre above base_link, metres
log_l, log_w, log_h logarithm of the size in metres
...                 the heading, in two channels or four, see `Heading`
vx, vy              velocity over ground in base_link's axes, in units of `velocity_unit` metres per second
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import wrap_angle

MAX_LOG_SIZE = 4.0  # e^4 = 55 m: an untrained or broken regression must not overflow
PLACE_AND_SIZE = ("dx", "dy", "z", "log_l", "log_w", "log_h")
VELOCITY = ("vx", "vy")


class Heading(StrEnum):
    """How the yaw t is coded; files and configurations say it by these names.

    vector: sin t, cos t. Where front and back look alike, the mean of both is near zero and its angle is noise.
    axis: sin 2t, cos 2t, which a turn by pi leaves alone; and apart from it the direction, dir_x and dir_y: as targets
    cos t and sin t, as outputs of a network the logits of (1 + cos t) / 2 and (1 + sin t) / 2.
    """

    vector = "vector"
    axis = "axis"


@dataclass(frozen=True)
class BoxCoding:
    """A coding of boxes. Codes are of shape (N, len(names)), velocity last.

    Targets are what `encode` gives. Outputs of a network differ from them in the direction, which is logits: `decode`
    takes both, since the logit of a probability has the sign of the target.
    """

    heading: Heading
    heading_names: tuple[str, ...]
    velocity_unit: float  # metres per second that a code of 1 means

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Channels in order."""
        return (*PLACE_AND_SIZE, *self.heading_names, *VELOCITY)

    @property
    def headings(self) -> slice:
        """Channels of the heading."""
        return slice(len(PLACE_AND_SIZE), len(PLACE_AND_SIZE) + len(self.heading_names))

    @property
    def directions(self) -> slice:
        """Channels of the direction, which outputs have as logits; none of Heading.vector."""
        return slice(len(PLACE_AND_SIZE) + 2, len(PLACE_AND_SIZE) + len(self.heading_names))

    @property
    def velocities(self) -> slice:
        """Channels of the velocity."""
        return slice(len(self.names) - len(VELOCITY), len(self.names))

    def encode(self, boxes: Boxes, rows: np.ndarray, columns: np.ndarray, grid: BevGrid) -> np.ndarray:
        """Codes (N, codes) of boxes at the given cells, as targets; NaN where the velocity is unknown."""
        cells, yaw = grid.to_cells(boxes.center[:, :2]), boxes.yaw
        place = [cells[:, 0] - columns - 0.5, cells[:, 1] - rows - 0.5, boxes.center[:, 2]]
        if self.heading is Heading.vector:
            heading = [np.sin(yaw), np.cos(yaw)]
        else:
            heading = [np.sin(2.0 * yaw), np.cos(2.0 * yaw), np.cos(yaw), np.sin(yaw)]
        return np.column_stack([*place, np.log(boxes.size), *heading, boxes.velocity / self.velocity_unit])

    def center(self, codes: np.ndarray, rows: np.ndarray, columns: np.ndarray, grid: BevGrid) -> np.ndarray:
        """Box centres (N, 3) in metres of codes at the given cells."""
        xy = grid.to_metres(np.stack([columns + 0.5 + codes[:, 0], rows + 0.5 + codes[:, 1]], axis=1))
        return np.column_stack([xy, codes[:, 2]])

    def size(self, codes: np.ndarray) -> np.ndarray:
        """Length, width, height (N, 3) in metres."""
        return np.exp(np.clip(codes[:, 3:6], -MAX_LOG_SIZE, MAX_LOG_SIZE))

    def yaw(self, codes: np.ndarray) -> np.ndarray:
        """Yaw (N,) in radians: of the axis' two ends the one that agrees better with the direction."""
        first, second = codes[:, self.headings].T[:2]
        if self.heading is Heading.vector:
            return np.arctan2(first, second)
        axis = np.arctan2(first, second) / 2.0
        toward = np.tanh(codes[:, self.directions] / 2.0)  # the mean of (cos t, sin t) that the logits stand for
        ahead = np.cos(axis) * toward[:, 0] + np.sin(axis) * toward[:, 1]
        return np.where(ahead >= 0.0, axis, wrap_angle(axis + np.pi))

    def velocity(self, codes: np.ndarray) -> np.ndarray:
        """Velocity (N, 2) in metres per second."""
        return codes[:, self.velocities] * self.velocity_unit


VECTOR = BoxCoding(Heading.vector, ("sin", "cos"), velocity_unit=1.0)
AXIS = BoxCoding(Heading.axis, ("sin2", "cos2", "dir_x", "dir_y"), velocity_unit=4.0)


def coding_of(heading: Heading) -> BoxCoding:
    """The coding that a file or a configuration names."""
    return {coding.heading: coding for coding in (VECTOR, AXIS)}[heading]
