"""What a distillation term is: a named, weighted loss over one batch of a student and its teacher."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

from torch import Tensor

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import TrainingProcesses
from kd_training.data.ground_truth import GroundTruth
from kd_training.distill.terms.attention import energy
from kd_training.distill.terms.regions import BoxFootprints, box_footprints
from kd_training.losses.detection import object_counts, of_classes


@dataclass(frozen=True)
class AdaptedLayer:
    """One pair of layers of a batch, (B, C, rows, columns) float32: the student's behind its adapter, the teacher's."""

    student: Tensor
    teacher: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return tuple(self.teacher.shape[2:])

    @cached_property
    def energies(self) -> tuple[Tensor, Tensor]:
        """P (B, rows, columns) of the student and of the teacher."""
        return energy(self.student), energy(self.teacher)


@dataclass(frozen=True)
class ComparedBatch:
    """A batch as the terms see it; what several of them need is computed once.

    `layers` holds the adapted layers by the student's name, `labels` the label features by the teacher's. Neither these
    nor the teacher's outputs carry gradient. `cameras` are each rig's that show something, augmented as the rig is.
    """

    student: DetectorOutputs
    teacher: DetectorOutputs
    truth: GroundTruth
    processes: TrainingProcesses
    layers: Mapping[str, AdaptedLayer]
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    cameras: Sequence[Sequence[Camera]] = ()
    _footprints: dict[tuple[int, int], BoxFootprints] = field(default_factory=dict)

    def footprints(self, grid: BevGrid, shape: tuple[int, int]) -> BoxFootprints:
        """Cells of the true boxes on a raster of `shape` (rows, columns) over the grid's extent."""
        if shape not in self._footprints:
            self._footprints[shape] = box_footprints(self.truth.boxes, grid, shape, self.student.heatmap.device)
        return self._footprints[shape]

    @cached_property
    def object_counts(self) -> Tensor:
        """What the sums over each head group's objects are divided by (groups,), as in the task's own losses."""
        return object_counts(self.truth, self.processes)

    @property
    def class_counts(self) -> Tensor:
        """The same for every class (classes,): that of its group."""
        return of_classes(self.object_counts, self.truth.classes)


class TermValue(NamedTuple):
    """A scalar float32 loss with the term's weight in it, and figures to log by name."""

    loss: Tensor
    log: Mapping[str, Tensor] = {}


class Term(Protocol):
    """A distillation term. Its `name` stands in the log and names its weight in blending.

    One that learns is an nn.Module: its parameters train with the adapters, and it is called under autocast.
    """

    @property
    def name(self) -> str:
        """For example feature/half."""
        ...

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The term of a batch, outside of autocast unless it learns."""
        ...
