"""What a detector in training returns, teacher or student: predictions, and the features that distillation compares."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor


class ImagePyramid(NamedTuple):
    """Image features of N cameras in training: `maps` (N, channels, rows, columns) by stride in pixels, coarser ones
    added to finer ones. `below`: the backbone's level (N, channels', 2 rows, 2 columns) next to the finest map, which
    the neck does not use; None where it uses all."""

    maps: dict[int, Tensor]
    below: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "ImagePyramid":
        """The same with every tensor changed."""
        maps = {stride: change(value) for stride, value in self.maps.items()}
        return ImagePyramid(maps, None if self.below is None else change(self.below))


class DetectorOutputs(NamedTuple):
    """Of B rigs: heatmap logits (B, classes, rows, columns), regression (B, groups, codes, rows, columns), BEV features
    by name (B, channels, rows', columns'), each over the whole extent of the grid. Of the N cameras of students:
    depth_logits (N, D, h, w), and the image pyramid.

    Students name "enter", "half", "quarter" and "pre_head" (kd_training.models.bev_encoder), and "shared"
    (kd_training.models.center_head).
    """

    heatmap: Tensor
    regression: Tensor
    features: dict[str, Tensor]
    depth_logits: Tensor | None = None
    pyramid: ImagePyramid | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> "DetectorOutputs":
        """The same with every tensor changed."""
        return DetectorOutputs(
            change(self.heatmap),
            change(self.regression),
            {name: change(value) for name, value in self.features.items()},
            None if self.depth_logits is None else change(self.depth_logits),
            None if self.pyramid is None else self.pyramid.map(change),
        )

    def of_rigs(self, rigs: Tensor) -> "DetectorOutputs":
        """Of some rigs alone (R,) int64; without what is of cameras."""
        return self._replace(depth_logits=None, pyramid=None).map(lambda value: value[rigs])
