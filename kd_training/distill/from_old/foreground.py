"""Where the old student sees objects, and how its classes stand among the new student's."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import ClassList

PEAK = 0.1  # least probability of an object where every cell is foreground


@dataclass(frozen=True)
class SharedClasses:
    """The old student's K classes: `label` (K,), their labels in the new one, and head groups `old_group` (K,) and
    `new_group` (K,)."""

    label: np.ndarray
    old_group: np.ndarray
    new_group: np.ndarray

    @staticmethod
    def of(old: ClassList, new: ClassList) -> "SharedClasses":
        """By name. Raises ConfigError if the new student lacks a class."""
        forgotten = [name for name in old.names if name not in new.names]
        if forgotten:
            raise ConfigError(
                f"the old student detects {', '.join(forgotten)}, which model.classes lacks; an update adds classes, "
                "and drops none: put them into the class list"
            )
        label = np.array([new.names.index(name) for name in old.names], np.int64)
        return SharedClasses(label, old.group_of_label, new.group_of_label[label])


@dataclass(frozen=True)
class OldObjects:
    """What is foreground in the old student's heatmap logits (B, K, rows, columns), which have no gradient.

    `least`: the probability from which a cell is; 0 takes every cell. `heard` (B, K) bool: the classes of each rig that
    count; None: all.
    """

    logits: Tensor
    least: float
    heard: Tensor | None = None

    @cached_property
    def probability(self) -> Tensor:
        """(B, K, rows, columns)."""
        return torch.sigmoid(self.logits)

    @cached_property
    def foreground(self) -> Tensor:
        """Bool (B, K, rows, columns)."""
        return self._heard(self.probability >= self.least)

    @cached_property
    def peaks(self) -> Tensor:
        """Bool (B, K, rows, columns): one cell an object, the best of its neighbourhood, as decoding has it."""
        best = functional.max_pool2d(self.probability, 3, stride=1, padding=1)
        return self._heard((self.probability == best) & (self.probability >= (self.least or PEAK)))

    @cached_property
    def counts(self) -> Tensor:
        """How many objects of each class (K,)."""
        return self.peaks.sum(dim=(0, 2, 3))

    def raster(self, shape: tuple[int, int]) -> Tensor:
        """Bool (B, rows, columns) of another raster over the same extent: cells with foreground of any class."""
        anywhere = self.foreground.any(dim=1, keepdim=True).float()
        return functional.adaptive_max_pool2d(anywhere, shape)[:, 0] > 0.0

    def _heard(self, cells: Tensor) -> Tensor:
        return cells if self.heard is None else cells & self.heard[:, :, None, None]
