"""The points that a LiDAR teacher takes: several clouds behind each other."""

from typing import NamedTuple

import torch
from torch import Tensor

from kd_training.batches.moving import moved


class PointBatch(NamedTuple):
    """Points of B rigs: points (P, 5) float32: x, y, z in the (augmented) ego frame of the keyframe, metres; intensity
    0 to 1; age in seconds, 0 for the keyframe's own sweep, positive before. With virtual points (P, 6): 0 for a return,
    1 + class for a virtual point. rig (P,) int64: which of the B."""

    points: Tensor
    rig: Tensor

    def to(self, device: torch.device) -> "PointBatch":
        """The same on a device."""
        return PointBatch(moved(self.points, device), moved(self.rig, device))

    def of_rigs(self, rigs: Tensor) -> "PointBatch":
        """The clouds of some rigs alone, rising numbers (R,) int64, which are 0 to R - 1 then."""
        kept = torch.isin(self.rig, rigs)
        return PointBatch(self.points[kept], torch.searchsorted(rigs, self.rig[kept]))
