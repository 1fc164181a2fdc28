"""The gradients of one step: forward and backward passes, over several processes and several batches each."""

from collections.abc import Iterator
from functools import partial

import torch
from lightning.fabric import Fabric
from torch import nn

from kd_perception.errors import KdError
from kd_training.batches.processes import processes_of
from kd_training.tasks.task import Losses, Task


class TrainingError(KdError):
    """Training cannot go on; the sentence says why."""


def add_gradients(
    fabric: Fabric, wrapped: nn.Module, task: Task, batches: Iterator[object], passes: int, step: int
) -> Losses:
    """The mean gradients of `passes` batches of every process, in the parameters' `grad`; the losses of the last.

    `wrapped` is the task's Trainee as Fabric set it up. Raises TrainingError naming a loss that is not finite.
    """
    processes = processes_of(fabric)
    for number in range(passes):
        batch = task.to_device(next(batches), fabric)
        with fabric.no_backward_sync(wrapped, enabled=number < passes - 1):
            losses = wrapped(partial(task.losses, batch, step, processes))
            check_finite(losses, step)
            fabric.backward(task.total(losses, step, number == 0, processes) / passes)
    return losses


def check_finite(losses: Losses, step: int) -> None:
    """Raise TrainingError naming the first term that is NaN or infinite."""
    for name, value in {**losses.task, **losses.terms}.items():
        if not torch.isfinite(value):
            raise TrainingError(
                f"the {name} loss is {value.item()} at step {step}; lower schedule.learning_rate or check the data, "
                "then start from the last save with --weights"
            )


def check_gradients(norms: dict[str, float], step: int) -> None:
    """Raise TrainingError before a NaN or infinite gradient reaches the weights."""
    for name, value in norms.items():
        if not value < float("inf"):
            raise TrainingError(
                f"the {name} is {value} at step {step} although every loss is finite; lower schedule.learning_rate "
                "or set schedule.precision=32-true, then start from the last save with --weights"
            )
