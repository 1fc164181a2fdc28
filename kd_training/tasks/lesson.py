"""What a frozen teacher contributes to a student's training."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor, nn

from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import TrainingProcesses
from kd_training.data.batches import Batch
from kd_training.distill.distiller import Distilled


class FrozenFile(NamedTuple):
    """A weights file that a resumed run must find again: `named`, its key and value in the configuration; digest."""

    named: str
    digest: str


class TeacherLesson(Protocol):
    """Compares a student's outputs with those of one teacher, which sees the same batch.

    distiller: its parameters are the adapters'; term_names: what it returns, in order; frozen: the files behind it, by
    the name in a run's state. A plain class: the teacher neither trains, averages nor is saved.
    """

    distiller: nn.Module
    term_names: tuple[str, ...]
    frozen: Mapping[str, FrozenFile]

    def teacher_outputs(self, batch: Batch) -> DetectorOutputs:
        """What the teacher finds in a batch, without gradient."""
        ...

    def __call__(
        self, student: DetectorOutputs, batch: Batch, rigs: Tensor | None, processes: TrainingProcesses
    ) -> Distilled:
        """The terms of a batch, or of some of its rigs (R,) int64, rising, scalars; `student`: outputs for all rigs."""
        ...
