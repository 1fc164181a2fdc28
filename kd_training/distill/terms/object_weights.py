"""Imitation within boxes, where small and far objects count more: those that a camera finds last."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import LayerPair
from kd_training.config.feature_terms import ObjectWeightsConfig
from kd_training.distill.terms.regions import painted
from kd_training.distill.terms.term import ComparedBatch, TermValue

LEAST_SUM = 1e-6  # of a batch's weights: without objects the loss is 0


@dataclass(frozen=True)
class ObjectWeightTerm:
    """L = weight  sum_cells W mean_channels (F_T - G(F_S))^2 / sum_cells W.

    W are `object_weights` in the cells that a box covers; the largest where boxes overlap, 0 outside.
    """

    pair: LayerPair
    config: ObjectWeightsConfig
    grid: BevGrid

    @property
    def name(self) -> str:
        """Object weights and the student's layer."""
        return f"object_weights/{self.pair.student}"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        layer, boxes = batch.layers[self.pair.student], batch.truth.boxes
        values = object_weights(boxes, self.grid, self.config)
        weights = torch.from_numpy(painted(values, boxes, self.grid, layer.shape)).to(layer.student.device)
        total = (weights * (layer.teacher - layer.student).square().mean(dim=1)).sum()
        return TermValue(self.config.weight * total / batch.processes.mean(weights.sum()).clamp(min=LEAST_SUM))


def object_weights(boxes: Sequence[Boxes], grid: BevGrid, config: ObjectWeightsConfig) -> np.ndarray:
    """W (K,) of all rigs' boxes: sigmoid((log median volume - log volume) / spread) (1 + eta d / d_max).

    The median is that of these boxes; d is the distance from the ego, d_max that of the grid's farthest corner.
    """
    together = Boxes.concatenate(boxes)
    if not len(together):
        return np.zeros(0)
    volume = np.log(together.size).sum(axis=1)
    small = 1.0 / (1.0 + np.exp((volume - np.median(volume)) / config.spread))
    farthest = np.hypot(max(-grid.x_min, grid.x_max), max(-grid.y_min, grid.y_max))
    return small * (1.0 + config.distance * np.hypot(*together.center[:, :2].T) / farthest)
