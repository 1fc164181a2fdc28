"""Fixed weights: the losses as their configured weights made them; what a search over weights compares."""

from collections.abc import Sequence

from torch import Tensor

from kd_training.distill.blending.gradients import SharedLayers
from kd_training.distill.blending.protocol import even_weights


class FixedWeights:
    """Every factor is 1, always."""

    def __init__(self, names: Sequence[str]) -> None:
        self.weights = even_weights(names)
        self.figures: dict[str, float] = {}

    def update(self, step: int, task: Tensor, terms: dict[str, Tensor], shared: SharedLayers) -> None:
        """Nothing changes."""

    def state_dict(self) -> dict[str, object]:
        """Nothing to save."""
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Nothing to restore."""
