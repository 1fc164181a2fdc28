"""The truth of a batch, which students and teachers share: targets of the head, and the boxes behind them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kd_perception.geometry.boxes import Boxes
from kd_training.data.targets import DetectionTargets


class GroundTruth(NamedTuple):
    """Of B rigs: heatmap (B, 10, rows, columns); `objects` (K,): rig, group, row, column int64; codes (K, 10), NaN =
    unknown; boxes (B) whose centre is inside the grid, augmented as the rig is, on the host."""

    heatmap: Tensor
    objects: dict[str, Tensor]
    codes: Tensor
    boxes: tuple[Boxes, ...]


def join_ground_truth(targets: Sequence[DetectionTargets]) -> GroundTruth:
    """The targets of several rigs as one batch."""
    objects = {
        name: torch.from_numpy(np.concatenate([getattr(entry, name) for entry in targets]))
        for name in ("group", "row", "column")
    }
    objects["rig"] = torch.from_numpy(np.repeat(np.arange(len(targets)), [len(entry.row) for entry in targets]))
    return GroundTruth(
        heatmap=torch.from_numpy(np.stack([entry.heatmap for entry in targets])),
        objects=objects,
        codes=torch.from_numpy(np.concatenate([entry.codes for entry in targets])),
        boxes=tuple(entry.boxes for entry in targets),
    )
