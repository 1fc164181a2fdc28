"""How long a training took, where other programs run as well, and workers are paused.

On a CPU that is processor time: of all threads, and of the processes that read batches once they have ended. A GPU
works while the processor waits, so that there it is wall time.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from kd_perception.atomic import write_text

PROCESSOR, GPU = "processor", "gpu"
WALL = "wall"  # runs on CPUs before processor time was taken, and what is of two kinds
TIME_FILE = "training_seconds"


@dataclass(frozen=True)
class Spent:
    """Seconds by a clock: PROCESSOR, GPU or WALL."""

    seconds: float
    clock: str

    @property
    def comparable(self) -> bool:
        """Whether it may be compared with another run's."""
        return self.clock != WALL

    def plus(self, seconds: float, clock: str) -> "Spent":
        """Further seconds; by another clock both become WALL, which is compared with nothing."""
        same = not self.seconds or self.clock == clock
        return Spent(self.seconds + seconds, clock if same else WALL)


NOTHING = Spent(0.0, WALL)


class Watch:
    """Starts when it is made."""

    def __init__(self) -> None:
        import torch

        self.clock = GPU if torch.cuda.is_available() else PROCESSOR
        self._began_s = self._now_s()

    def seconds(self) -> float:
        """Since it was made."""
        return self._now_s() - self._began_s

    def _now_s(self) -> float:
        if self.clock == GPU:
            return time.monotonic()
        spent = os.times()
        return spent.user + spent.system + spent.children_user + spent.children_system


def read_spent(folder: Path) -> Spent:
    """What the folder's training took, over all its sessions; nothing if there was none."""
    path = folder / TIME_FILE
    seconds, _, clock = (path.read_text() if path.is_file() else "0").partition(" ")
    return Spent(float(seconds), clock or WALL)


def write_spent(folder: Path, spent: Spent) -> None:
    """Keep it in the folder."""
    write_text(folder / TIME_FILE, f"{spent.seconds:.1f} {spent.clock}")
