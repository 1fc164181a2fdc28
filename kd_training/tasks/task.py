"""What the training loop wants of a task: a module that turns batches into losses, and the batches by step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_perception.geometry.grid import BevGrid
from kd_training.batches.processes import TrainingProcesses
from kd_training.batches.run_plan import RunPlan
from kd_training.data.frames import TrainingFrame


class MicroStep(NamedTuple):
    """Where a run is: the optimiser's step, which of the step's micro-batches, and the processes that share it."""

    step: int
    micro_batch: int
    processes: TrainingProcesses


class DeviceBatch(Protocol):
    """A batch as DataLoaders give it."""

    def to(self, device: torch.device) -> Self:
        """The same on a device."""


class Losses:
    """Scalars by name: `task`, weighted, whose sum is the task's loss; `terms` of distillation, yet to be blended.

    A plain class: Fabric hangs hooks on the tensors of tuples and dataclasses, and those forbid looking at gradients.
    """

    def __init__(self, task: dict[str, Tensor], terms: dict[str, Tensor] | None = None) -> None:
        self.task, self.terms = task, terms or {}

    def task_total(self) -> Tensor:
        """The task's loss."""
        return torch.stack(list(self.task.values())).sum()


class Task(nn.Module, ABC):
    """A run's subject, which DDP wraps as a whole: its parameters are all that trains.

    `model` is what ships; `learning_rate_multipliers` are of parts of the model, by name, that learn at another rate.
    `learns_boxes`: whether keyframes without any box are a mistake.
    """

    name: str
    model: nn.Module
    learning_rate_multipliers: Mapping[str, float]
    frames: Sequence[TrainingFrame]
    learns_boxes: bool = True

    @property
    @abstractmethod
    def grid(self) -> BevGrid:
        """The BEV grid that boxes are learned on."""

    @property
    def adapters(self) -> nn.Module | None:
        """What trains with the model but never ships, or None."""
        return None

    @abstractmethod
    def begin(self, weights: Path | None) -> None:
        """Start a new run, from `weights` if any; a resumed one restores its state instead."""

    @abstractmethod
    def batches(self, plan: RunPlan) -> Dataset:
        """Maps a micro-batch's index, counted over the run, to this process's batch: the same one every time."""

    @abstractmethod
    def forward(self, batch: DeviceBatch, now: MicroStep) -> Losses:
        """The scalar losses of a batch that is where the model is."""

    def total(self, losses: Losses, now: MicroStep) -> Tensor:
        """The scalar to descend: the task's loss, and the terms of distillation by their weights."""
        return losses.task_total()

    def shipped(self, average: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a run writes as its weights, of the model's averaged state: that state. Training does not see it."""
        return average

    def figures(self) -> dict[str, float]:
        """Further numbers of the last micro-batch, to be logged."""
        return {}

    def get_extra_state(self) -> dict[str, Any]:
        """What a resumed run needs besides the states of model and adapters: nothing, batches follow from the step."""
        return {}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore it."""
