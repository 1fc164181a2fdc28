"""What the training loop wants of a task: something that trains, batches by step, losses by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import Dataset

from kd_training.batches.processes import TrainingProcesses
from kd_training.data.frames import TrainingFrame
from kd_training.tasks.plan import RunPlan

Loaded = TypeVar("Loaded")  # a batch as it was loaded
Ready = TypeVar("Ready")  # a batch where the model is


class Losses:
    """Scalars by name: `task`, weighted, whose sum is the task's loss; `terms` of distillation, yet to be blended.

    A plain class: Fabric hangs hooks on the tensors of tuples and dataclasses, and those forbid looking at gradients.
    """

    def __init__(self, task: dict[str, Tensor], terms: dict[str, Tensor] | None = None) -> None:
        self.task, self.terms = task, terms or {}

    def task_total(self) -> Tensor:
        """The task's loss."""
        return torch.stack(list(self.task.values())).sum()


class Task(Protocol[Loaded, Ready]):
    """A run's subject.

    `model` is what ships; `helper` trains too, but never ships (None: there is nothing); `rates` are parts of the model
    that learn at a share of the learning rate.
    """

    name: str
    model: nn.Module
    helper: nn.Module | None
    rates: Mapping[str, float]
    frames: tuple[TrainingFrame, ...]

    def begin(self, weights: Path | None) -> None:
        """Start a new run, from `weights` if there are any; a resumed one restores its state instead."""

    def batches(self, plan: RunPlan) -> Dataset:
        """Maps the index of a pass, counted over the whole run, to this process's batch: the same one every time."""

    def to_device(self, batch: Loaded, fabric: Fabric) -> Ready:
        """The batch where the model is, with what needs no gradient computed."""

    def losses(self, batch: Ready, step: int, processes: TrainingProcesses) -> Losses:
        """The losses of a batch at a step; runs inside the wrapped module's forward pass."""

    def total(self, losses: Losses, step: int, first_pass: bool, processes: TrainingProcesses) -> Tensor:
        """What to descend: the task's loss, and the terms of distillation by their weights."""

    def figures(self) -> dict[str, float]:
        """Further numbers of the last pass, to be logged."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the states of model and helper."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""


class PlainTask:
    """What tasks without distillation share: their own loss is all there is, and there is nothing to remember."""

    def total(self, losses: Losses, step: int, first_pass: bool, processes: TrainingProcesses) -> Tensor:
        """The task's loss."""
        return losses.task_total()

    def figures(self) -> dict[str, float]:
        """None."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Nothing: batches are functions of the step."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class Trainee(nn.Module):
    """Everything that trains, as one module: DDP then averages the gradients of model and helper alike.

    It is called with a function that computes the losses, because Fabric cannot look into batches that are dataclasses.
    """

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self.helper = task.helper

    def forward(self, losses: Callable[[], Losses]) -> Losses:
        return losses()
