"""The ground truth of a batch, which students and teachers share: targets of the head, and the boxes behind them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_perception.student.box_codes import BoxCoding
from kd_training.batches.moving import moved
from kd_training.data.targets import DetectionTargets


class ObjectCells(NamedTuple):
    """Where the K objects of a batch stand, int64 (K,) each: rig, head group, and cell of the BEV grid."""

    rig: Tensor
    group: Tensor
    row: Tensor
    column: Tensor

    def of(self, regression: Tensor) -> Tensor:
        """Values (K, codes) at the objects of a map (B, groups, codes, rows, columns)."""
        return regression[self.rig, self.group, :, self.row, self.column]


class Trust(NamedTuple):
    """What unlabelled ground truth counts: cells (B, classes, rows, columns), 0 in doubt, and objects (K,)."""

    cells: Tensor
    objects: Tensor

    @property
    def known(self) -> Tensor:
        """Cells (B, classes, rows, columns) that are not in doubt; 1 or 0."""
        return (self.cells > 0.0).float()


class GroundTruth(NamedTuple):
    """Of B rigs: heatmap (B, classes, rows, columns); `objects` K; codes (K, codes) as BoxCoding's targets, NaN where
    there is nothing to learn; boxes (B); the grid's cell size in metres.

    All rigs have one coding. The boxes are those whose centre is inside the grid, augmented as the rig is, on the host.
    `trust` is None where all was labelled.
    """

    heatmap: Tensor
    objects: ObjectCells
    codes: Tensor
    boxes: tuple[Boxes, ...]
    coding: BoxCoding
    cell_size: float
    trust: Trust | None = None

    @property
    def classes(self) -> ClassList:
        """The class list of all boxes."""
        return self.boxes[0].classes

    def to(self, device: torch.device) -> "GroundTruth":
        """The same on a device; boxes stay on the host."""
        objects = ObjectCells(*(moved(part, device) for part in self.objects))
        trust = None if self.trust is None else Trust(*(moved(part, device) for part in self.trust))
        return self._replace(
            heatmap=moved(self.heatmap, device), objects=objects, codes=moved(self.codes, device), trust=trust
        )

    def of_rigs(self, rigs: Tensor) -> "GroundTruth":
        """Of some rigs alone, rising numbers (R,) int64, which are 0 to R - 1 then."""
        kept = torch.isin(self.objects.rig, rigs)
        rig, *others = (part[kept] for part in self.objects)
        return self._replace(
            heatmap=self.heatmap[rigs],
            objects=ObjectCells(torch.searchsorted(rigs, rig), *others),
            codes=self.codes[kept],
            boxes=tuple(self.boxes[number] for number in rigs.tolist()),
            trust=None if self.trust is None else Trust(self.trust.cells[rigs], self.trust.objects[kept]),
        )


def join_ground_truth(targets: Sequence[DetectionTargets]) -> GroundTruth:
    """The targets of several rigs as one batch."""
    rig = np.repeat(np.arange(len(targets)), [len(entry.row) for entry in targets])
    objects = ObjectCells(
        rig=torch.from_numpy(rig),
        group=torch.from_numpy(np.concatenate([entry.group for entry in targets])),
        row=torch.from_numpy(np.concatenate([entry.row for entry in targets])),
        column=torch.from_numpy(np.concatenate([entry.column for entry in targets])),
    )
    return GroundTruth(
        heatmap=torch.from_numpy(np.stack([entry.heatmap for entry in targets])),
        objects=objects,
        codes=torch.from_numpy(np.concatenate([entry.codes for entry in targets])),
        boxes=tuple(entry.boxes for entry in targets),
        coding=targets[0].coding,
        cell_size=targets[0].cell_size,
        trust=_trust(targets, rig),
    )


def _trust(targets: Sequence[DetectionTargets], rig: np.ndarray) -> Trust | None:
    """The trust in the targets of several rigs; `rig` (K,) of each object."""
    if all(entry.doubt is None and entry.weight == 1.0 for entry in targets):
        return None
    weight = np.array([entry.weight for entry in targets], np.float32)
    cells = np.broadcast_to(weight[:, None, None, None], (len(targets), *targets[0].heatmap.shape)).copy()
    for entry, of_rig in zip(targets, cells, strict=True):
        if entry.doubt is not None:
            of_rig[entry.doubt] = 0.0
    return Trust(torch.from_numpy(cells), torch.from_numpy(weight[rig]))
