"""The triangles of a scene at a time step. What stands still, scenery and actors, is put together once and lasts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from kd_synthetic.assets.mesh import Mesh, join
from kd_synthetic.rendering.lamps import Lamps
from kd_synthetic.rendering.tracer import PairTracer, Tracer, TreeTracer
from kd_synthetic.streets.actors import Actor

AO_CELL, AO_REACH = 0.25, 48.0  # contact shadows: cell size and reach around the ego, metres
ACTOR_REACH = 140.0


@dataclass(frozen=True, eq=False)
class Placed:
    """Triangles at a time step. Owner (T,) is the actor's index, -1 for scenery; slices[i] are actor i's triangles, in
    the order of the actors.
    """

    mesh: Mesh
    owner: np.ndarray
    slices: dict[int, slice]
    tracer: Tracer


@dataclass(frozen=True, eq=False)
class Geometry:
    """What rays meet at a time step: the placed triangles, contact shadows on the ground, and lamps."""

    step: float
    placed: Placed
    contact: np.ndarray  # (G, G) how much of the sky actors hide from the ground, around contact_centre
    contact_centre: np.ndarray
    light_up: Callable[[Placed], Lamps | None] = field(repr=False)

    @property
    def mesh(self) -> Mesh:
        """All triangles."""
        return self.placed.mesh

    @property
    def owner(self) -> np.ndarray:
        """See Placed."""
        return self.placed.owner

    @property
    def slices(self) -> dict[int, slice]:
        """See Placed."""
        return self.placed.slices

    @property
    def tracer(self) -> Tracer:
        """Answers rays through all triangles."""
        return self.placed.tracer

    @cached_property
    def lamps(self) -> Lamps | None:
        """The lamps, while they are lit: only cameras ask for them."""
        return self.light_up(self.placed)


class Placement:
    """Places actors among the scenery, in the geometry's axes: the world's, shifted by `offset` (3,)."""

    def __init__(self, scenery: Mesh, actors: Sequence[Actor], offset: np.ndarray) -> None:
        self._scenery, self._actors, self._offset = scenery, actors, offset
        self._still = [actor.motion.still for actor in actors]
        self._lasting: tuple[tuple[int, ...], Placed] | None = None  # of the actors that stood there last

    def present(self, step: float, centre: np.ndarray) -> list[int]:
        """The actors that are there at a time step, near enough to the point (2,) in the world."""
        there = []
        for index, actor in enumerate(self._actors):
            x, y, _ = actor.motion.at(step)
            if actor.present(step) and np.hypot(x - centre[0], y - centre[1]) <= ACTOR_REACH:
                there.append(index)
        return there

    def place(self, step: float, present: Sequence[int]) -> Placed:
        """The scenery and some actors at a time step."""
        still = tuple(index for index in present if self._still[index])
        if self._lasting is None or self._lasting[0] != still:
            mesh, owner, slices = self._joined(self._scenery, still, step)
            self._lasting = still, Placed(mesh, owner, slices, TreeTracer(mesh.vertices))
        lasting = self._lasting[1]
        moving = [index for index in present if not self._still[index]]
        if not moving:
            return lasting
        mesh, owner, slices = self._joined(lasting.mesh, moving, step)
        tracer = PairTracer(lasting.tracer, mesh.vertices)
        together = lasting.slices | slices
        owner[: len(lasting.owner)] = lasting.owner
        return Placed(mesh, owner, {index: together[index] for index in present}, tracer)

    def _joined(self, ground: Mesh, chosen: Sequence[int], step: float) -> tuple[Mesh, np.ndarray, dict[int, slice]]:
        """A mesh with the actors `chosen` added to it, the owner of each triangle, and each actor's triangles."""
        parts = [self._moved(self._actors[index], step) for index in chosen]
        ends = np.cumsum([len(ground), *map(len, parts)]).tolist()
        owner = np.repeat(np.array([-1, *chosen], np.int16), [len(ground), *map(len, parts)])
        slices = {index: slice(*ends[i : i + 2]) for i, index in enumerate(chosen)}
        return join([ground, *parts]), owner, slices

    def _moved(self, actor: Actor, step: float) -> Mesh:
        x, y, yaw = actor.motion.at(step)
        mesh = actor.mesh_at(actor.travelled(step) if actor.animated else 0.0)
        return mesh.moved(x - self._offset[0], y - self._offset[1], yaw, 0.0)


def contact_shadows(actors: Sequence[Actor], step: float, centre: np.ndarray) -> np.ndarray:
    """How much of the sky (G, G) actors hide from the ground around a point (2,) in the world."""
    footprint = np.zeros((round(2 * AO_REACH / AO_CELL),) * 2, np.uint8)
    for actor in actors:
        x, y, yaw = actor.motion.at(step)
        half = np.array(actor.size[:2]) / 2 * 0.92
        turn = np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]])
        corners = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * half @ turn
        shift = (x - centre[0] + AO_REACH, y - centre[1] + AO_REACH)
        cv2.fillPoly(footprint, [np.round((corners + shift) / AO_CELL).astype(np.int32)], 255)
    return cv2.GaussianBlur(footprint.astype(np.float32) / 255.0, (0, 0), 1.6)
