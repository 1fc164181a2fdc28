"""The gradients of one step: forward and backward, over several processes and several micro-batches each."""

from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch import nn

from kd_perception.errors import KdError
from kd_training.batches.processes import processes_of
from kd_training.tasks.task import DeviceBatch, Losses, MicroStep


class TrainingError(KdError):
    """Training cannot go on; the sentence says why."""


def add_gradients(
    fabric: Fabric, wrapped: nn.Module, batches: Iterator[DeviceBatch], step: int, micro_batches: int
) -> Losses:
    """Put the mean gradients of `micro_batches` batches of every process into `grad`; returns the losses of the last.

    `wrapped` is the Task as Fabric set it up. Raises TrainingError naming a loss that is not finite.
    """
    task, processes = wrapped.module, processes_of(fabric)
    for number in range(micro_batches):
        now = MicroStep(step, number, processes)
        batch = next(batches).to(fabric.device)
        with fabric.no_backward_sync(wrapped, enabled=number < micro_batches - 1):
            losses = wrapped(batch, now)
            check_finite(losses, step)
            fabric.backward(task.total(losses, now) / micro_batches)
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
