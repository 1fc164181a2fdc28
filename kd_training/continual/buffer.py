"""The replay buffer grows by a domain: what is kept is chosen, copied beside, and exchanged in one step.

Half of it is a reservoir of all that was ever offered, half is what is important (methods: see `importance`).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_training.config.continual import BufferConfig
from kd_training.data.frames import KeyFrames
from kd_training.data.replay_buffer import ReplayBuffer


@dataclass(frozen=True)
class OfferedDomain:
    """A domain's name and labelled keyframes (F); uncertainty (F,): the student's, None where nobody measured it.

    Several data sets may be one domain: `KeyFrames` of all of them.
    """

    name: str
    frames: KeyFrames
    uncertainty: np.ndarray | None = None


def add_domain(folder: Path, offered: OfferedDomain, settings: BufferConfig) -> ReplayBuffer:
    """Offer a domain's keyframes to the buffer in a folder, which is made where there is none.

    `settings` are a new buffer's; an old one keeps its own. The folder holds the old buffer until the new one is
    whole. Raises DataError for labels that contradict themselves, ConfigError for scenes that were offered before and
    for a domain too small to learn from; the buffer is then as it was.
    """
    raise NotImplementedError(folder, offered, settings)
