"""What a label encoder takes: cells of boxes, and what each cell knows of its box."""

from typing import NamedTuple

import torch
from torch import Tensor

GEOMETRY = 10  # box centre minus cell centre (2), height (1), log sizes (3), sin and cos of the yaw, velocity (2)


class PaintedBoxes(NamedTuple):
    """P pairs of a box and a cell that it covers: place (P,) int64 of the cell among rigs x rows x columns, geometry
    (P, GEOMETRY) of about 1, label (P,) int64 of the class."""

    place: Tensor
    geometry: Tensor
    label: Tensor

    def to(self, device: torch.device) -> "PaintedBoxes":
        """The same on a device."""
        return PaintedBoxes(*(part.to(device) for part in self))
