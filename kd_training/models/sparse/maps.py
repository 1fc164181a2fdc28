"""A sparse 3D map: features at those places of a raster that are occupied."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class SparseMap:
    """Features (V, C) at `places` (V, 4) int64, which are rig, z, y, x: unique, and in that order.

    shape: the raster's size along z, y and x. rules: what convolutions worked out for these places, by kernel; maps
    with the same places share it.
    """

    features: Tensor
    places: Tensor
    shape: tuple[int, int, int]
    rigs: int
    rules: dict[str, Any] = field(default_factory=dict)

    def with_features(self, features: Tensor) -> "SparseMap":
        """Other features (V, C') at the same places."""
        return replace(self, features=features)

    def dense(self) -> Tensor:
        """The whole raster (rigs, C, z, y, x), 0 where nothing is."""
        depth, rows, columns = self.shape
        raster = self.features.new_zeros(self.rigs * depth * rows * columns, self.features.shape[1])
        raster = raster.index_copy(0, linear_index(self.places, self.shape), self.features)
        return raster.reshape(self.rigs, depth, rows, columns, -1).permute(0, 4, 1, 2, 3)


def linear_index(places: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Numbers (V,) of places (V, 4) in a raster of that shape, rig after rig; they keep the order of places."""
    depth, rows, columns = shape
    rig, z, y, x = places.unbind(1)
    return ((rig * depth + z) * rows + y) * columns + x


def places_of(index: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Inverse of `linear_index`."""
    depth, rows, columns = shape
    plane = index // columns
    stack = plane // rows
    return torch.stack([stack // depth, stack % depth, plane % rows, index % columns], dim=1)
