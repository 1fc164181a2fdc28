"""How much light lamps throw on surfaces, shadows included.

Points are taken lamp by lamp: what belongs to one lamp fits the processor's caches, and shadow rays run side by side.
Each point adds its lamps in the order of its cell, whatever the order in which they are computed.
"""

from dataclasses import dataclass

import numpy as np

from kd_synthetic.rendering.lamps import CELL, FAINTEST, LAMP_AREA, NEAREST, REACH, Lamps, dot
from kd_synthetic.rendering.tracer import Tracer

SURFACE, BULB = np.float32(0.02), np.float32(0.12)  # metres at either end of a shadow ray that hide nothing


def lamp_light(lamps: Lamps, tracer: Tracer, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """Irradiance (N, 3) of points (N, 3) by the lamps, shadows included; unit normals (N, 3), or (1, 3) for all."""
    surface = _Surface(np.ascontiguousarray(points.T), np.ascontiguousarray(normals.T))
    count, chosen = len(points), _chosen(lamps, surface.points[:2])
    order = np.argsort(chosen.ravel(), kind="stable")  # pairs of rank and point, lamp by lamp; the last lamp is dark
    ends = np.cumsum(np.bincount(chosen.ravel(), minlength=len(lamps.kind)))
    share = np.zeros(chosen.size, np.float32)
    for lamp, pair in enumerate(np.split(order, ends[:-1])[:-1]):
        if len(pair):
            lit, value = _lit(lamps, lamp, tracer, surface.of(pair % count))
            share[pair[lit]] = value
    result = np.zeros((3, count), np.float32)
    for part, lamp in zip(share.reshape(chosen.shape), chosen, strict=True):
        for channel in range(3):
            result[channel] += part * lamps.intensity[:, channel].take(lamp)
    return np.ascontiguousarray(result.T)


@dataclass(frozen=True, eq=False)
class _Surface:
    """Points (3, N) and unit normals (3, N), or (3, 1) for all."""

    points: np.ndarray
    normals: np.ndarray

    def of(self, index: np.ndarray) -> "_Surface":
        """Some of the points."""
        one = self.normals.shape[1] == 1
        return _Surface(self.points.take(index, 1), self.normals if one else self.normals.take(index, 1))


def _chosen(lamps: Lamps, xy: np.ndarray) -> np.ndarray:
    """The lamps (NEAREST, N) of the cells that hold points (2, N)."""
    side, dark = len(lamps.cells), len(lamps.kind) - 1
    x, y = np.floor((xy - lamps.centre[:, None] + REACH) / CELL).astype(np.int32)
    inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
    of_cells = np.concatenate([lamps.cells.reshape(-1, NEAREST), np.full((1, NEAREST), dark, np.int16)])
    return np.ascontiguousarray(of_cells.T).take(np.where(inside, y * side + x, side * side), 1)


def _lit(lamps: Lamps, lamp: int, tracer: Tracer, surface: _Surface) -> tuple[np.ndarray, np.ndarray]:
    """Indices (M,) of the points that a lamp lights, and the share (M,) of its intensity that falls on each."""
    power = lamps.intensity[lamp].max()
    to_lamp = lamps.position[lamp][:, None] - surface.points
    squared, across = dot(to_lamp, to_lamp), dot(to_lamp, surface.normals)  # across: distance times cosine
    distance = np.sqrt(squared)
    unit = to_lamp / distance
    spread = squared + LAMP_AREA
    share = lamps.beam(lamp, -unit) * across / (distance * spread)
    index = np.flatnonzero((across * power > FAINTEST * distance * spread) & (share * power > FAINTEST))
    some = surface.of(index)
    start = some.points + SURFACE * some.normals
    clear = ~tracer.blocked(start.T, unit.take(index, 1).T, distance[index] - BULB)
    index = index[clear]
    return index, share[index]
