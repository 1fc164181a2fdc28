"""Rays through triangles, by Embree."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene


@dataclass(frozen=True, eq=False)
class Hits:
    """What N rays meet: their origins and unit directions (N, 3), distance (1e37 for none), triangle (-1 for none),
    barycentric u and v.
    """

    origins: np.ndarray
    directions: np.ndarray
    distance: np.ndarray
    triangle: np.ndarray
    u: np.ndarray
    v: np.ndarray

    def points(self, index: np.ndarray) -> np.ndarray:
        """Where the rays `index` (M,), which meet something, end (M, 3)."""
        distance, out = self.distance[index], np.empty((3, len(index)), self.directions.dtype)
        for axis, row in enumerate(out):  # numpy is slow where the last axis is short
            row[:] = self.origins[index, axis] + distance * self.directions[index, axis]
        return out.T


class Tracer(Protocol):
    """What answers rays."""

    def closest(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """First hit of rays (N, 3) float32 with unit directions (N, 3)."""

    def blocked(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray | None = None) -> np.ndarray:
        """Whether anything lies along each ray (N,), at most `reach` (N,) float32 away if given."""


class TreeTracer:
    """One tree over triangles (T, 3, 3). The binding copies them number by number: 1.5 us each on one core."""

    def __init__(self, vertices: np.ndarray) -> None:
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(vertices, np.float32))
        self.count = len(vertices)

    def closest(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray | None = None) -> Hits:
        """See Tracer; what lies farther than `reach` (N,) float32 is not met, if given."""
        reach = None if reach is None else reach.copy()  # Embree writes the distances there
        out = self._scene.run(origins, directions, dists=reach, output=True)
        return Hits(origins, directions, out["tfar"], out["primID"], out["u"], out["v"])

    def blocked(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray | None = None) -> np.ndarray:
        """See Tracer."""
        return self._scene.run(origins, directions, dists=reach, query="OCCLUDED") >= 0


class PairTracer:
    """A tree that lasts over the first triangles of (T, 3, 3), and one over the rest; the nearer hit counts.

    Two trees take longer for a ray than one takes. Whether anything lies along a ray is the same in any tree, so from
    MANY_RAYS on one tree answers that.
    """

    MANY_RAYS = 1_000_000  # what a picture by night asks for: the second picture of an instant pays for a tree

    def __init__(self, lasting: TreeTracer, vertices: np.ndarray) -> None:
        self._lasting, self._vertices = lasting, vertices
        self._passing = TreeTracer(vertices[lasting.count :])
        self._asked = 0

    def closest(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """See Tracer."""
        first = self._lasting.closest(origins, directions)
        second = self._passing.closest(origins, directions, first.distance)
        near = second.triangle >= 0
        triangle = np.where(near, second.triangle + np.int32(self._lasting.count), first.triangle)
        u, v = np.where(near, second.u, first.u), np.where(near, second.v, first.v)
        return Hits(origins, directions, second.distance, triangle, u, v)

    def blocked(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray | None = None) -> np.ndarray:
        """See Tracer."""
        self._asked += len(origins)
        if self._asked > self.MANY_RAYS:
            return self._whole.blocked(origins, directions, reach)
        result = self._lasting.blocked(origins, directions, reach)
        clear = np.flatnonzero(~result)
        reach = None if reach is None else reach[clear]
        result[clear] = self._passing.blocked(origins[clear], directions[clear], reach)
        return result

    @cached_property
    def _whole(self) -> TreeTracer:
        return TreeTracer(self._vertices)
