"""Weights between an old student's and those of its update (WiSE-FT: Wortsman et al., arXiv:2109.01903)."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from kd_training.checkpoints.checkpoint import load_weights
from kd_training.models.students.camera_student import CameraStudent


class OldBlend:
    """What ships of an update: old + `share` (trained - old), statistics of batch norms included.

    Values that the old student lacks are the trained ones: classes that join, a memory, further box codes. The old ones
    are held, so that their file may go while the update trains.
    """

    def __init__(self, share: float, model: CameraStudent, weights: Path, reset: Sequence[str]) -> None:
        """`weights`: the old student's, for the architecture of `model`; `reset`: parts that do not begin as its own.

        Raises DataError or ConfigError, as load_weights, where they do not fit.
        """
        self.share, start = share, deepcopy(model)
        for value in start.state_dict().values():
            if value.is_floating_point():
                value.fill_(torch.nan)  # stays where the old student has nothing
        load_weights(start, weights, start.added_modules, reset, classes=start.spec.classes)
        self.old = {name: value for name, value in start.state_dict().items() if value.is_floating_point()}

    def blended(self, trained: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """New tensors in the place of the trained ones, of their shapes; counters as they are."""
        return {name: self._between(name, value) if name in self.old else value for name, value in trained.items()}

    def _between(self, name: str, trained: Tensor) -> Tensor:
        old = self.old[name].to(trained)
        return torch.where(old.isnan(), trained, torch.lerp(old, trained, self.share))
