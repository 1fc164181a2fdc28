"""What a detector in training returns, teacher or student: predictions, and the features that distillation compares."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class DetectorOutputs(NamedTuple):
    """Of B rigs: heatmap logits (B, classes, rows, columns), regression (B, groups, codes, rows, columns), BEV features
    by name (B, channels, rows', columns'), each over the whole extent of the grid; depth_logits (N, D, h, w) of
    students.

    Students name "enter", "half", "quarter" and "pre_head" (kd_training.models.bev_encoder), and "shared"
    (kd_training.models.center_head).
    """

    heatmap: Tensor
    regression: Tensor
    features: dict[str, Tensor]
    depth_logits: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "DetectorOutputs":
        """The same with every tensor changed."""
        return DetectorOutputs(
            change(self.heatmap),
            change(self.regression),
            {name: change(value) for name, value in self.features.items()},
            None if self.depth_logits is None else change(self.depth_logits),
        )

    def of_rigs(self, rigs: Tensor) -> "DetectorOutputs":
        """Of some rigs alone (R,) int64; without the depth of cameras."""
        return self._replace(depth_logits=None).map(lambda value: value[rigs])
