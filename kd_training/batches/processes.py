"""How many processes train together, and what they have in common."""

import os
from collections.abc import Callable
from typing import NamedTuple

from lightning_fabric import Fabric
from torch import Tensor


class TrainingProcesses(NamedTuple):
    """`count` of them; `mean` is a tensor's mean over all, which all must compute together."""

    count: int
    mean: Callable[[Tensor], Tensor]

    def shared_count(self, counts: Tensor) -> Tensor:
        """What to divide a sum over this process's samples by, when its mean over the processes is to be the sum over
        all samples divided by all their `counts` (at least 1)."""
        return (self.mean(counts.float()) * self.count).round().clamp(min=1) / self.count


ALONE = TrainingProcesses(1, lambda tensor: tensor)


def processes_of(fabric: Fabric) -> TrainingProcesses:
    """The processes that torchrun started, or the single one."""
    return TrainingProcesses(fabric.world_size, lambda tensor: fabric.all_reduce(tensor, reduce_op="mean"))


def is_first_process() -> bool:
    """Whether this is the only process, or torchrun's rank 0."""
    return os.environ.get("RANK", "0") == "0"
