"""The things that get annotated: their nuScenes category, size statistics, motion and mesh."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from kd_synthetic.assets.mesh import Mesh, Size

# Mean and deviation of (l, w, h) in metres per detection class, close to those of nuScenes' annotations (its mini
# split, rounded).
SIZE_STATISTICS: dict[str, tuple[Size, Size]] = {
    "car": ((4.65, 1.96, 1.71), (0.36, 0.14, 0.2)),
    "truck": ((6.9, 2.4, 2.7), (1.7, 0.28, 0.6)),
    "construction_vehicle": ((6.0, 2.7, 2.75), (1.2, 0.3, 0.4)),
    "bus": ((11.0, 2.92, 3.55), (1.6, 0.15, 0.35)),
    "trailer": ((10.8, 2.5, 3.75), (2.2, 0.15, 0.3)),
    "barrier": ((0.6, 2.3, 1.05), (0.1, 0.4, 0.08)),
    "motorcycle": ((2.05, 0.8, 1.5), (0.2, 0.1, 0.12)),
    "bicycle": ((1.78, 0.63, 1.15), (0.12, 0.08, 0.1)),
    "pedestrian": ((0.74, 0.69, 1.75), (0.13, 0.08, 0.11)),
    "traffic_cone": ((0.44, 0.43, 0.8), (0.06, 0.06, 0.16)),
}
CATEGORY_OF_CLASS: dict[str, str] = {
    "car": "vehicle.car",
    "truck": "vehicle.truck",
    "construction_vehicle": "vehicle.construction",
    "bus": "vehicle.bus.rigid",
    "trailer": "vehicle.trailer",
    "barrier": "movable_object.barrier",
    "motorcycle": "vehicle.motorcycle",
    "bicycle": "vehicle.bicycle",
    "pedestrian": "human.pedestrian.adult",
    "traffic_cone": "movable_object.trafficcone",
}


PHASES = 8  # of a walking or pedalling cycle
WALK, PEDAL = 1.5, 4.0  # metres of one cycle of the limbs
Build = Callable[[np.random.Generator, float], Mesh]  # from a generator and the phase (rad) of the limbs' cycle


def cyclic_mesh(build: Build, seed: int, stride: float) -> Callable[[float], Mesh]:
    """An actor's mesh by the distance it has travelled, in metres; its limbs repeat after `stride`, 0 for none.

    `build` gets the same generator at every call, so only the phase changes.
    """

    @cache
    def phase_mesh(phase: int) -> Mesh:
        return build(np.random.default_rng(seed), phase * 2 * np.pi / PHASES)

    return lambda travelled: phase_mesh(int(travelled / stride * PHASES) % PHASES if stride else 0)


def sample_size(name: str, rng: np.random.Generator) -> Size:
    """A plausible (l, w, h) of a class, lengths and heights loosely correlated, within two deviations."""
    mean, deviation = (np.array(value) for value in SIZE_STATISTICS[name])
    draw = np.clip(rng.standard_normal(3), -2, 2)
    draw = 0.5 * draw + 0.5 * np.clip(rng.standard_normal(), -2, 2) if name in ("truck", "bus", "trailer") else draw
    return tuple(np.round(mean + deviation * draw, 3).tolist())


def row_at(rows: np.ndarray, step: float) -> np.ndarray:
    """The row of (K, ...) at a time step, linear between two; beyond the last whole step it stays, beyond either end
    by a fraction it goes on.
    """
    if len(rows) == 1 or float(step).is_integer():
        return rows[min(int(step), len(rows) - 1)]
    low = int(np.clip(np.floor(step), 0, len(rows) - 2))
    return rows[low] + (step - low) * (rows[low + 1] - rows[low])


@dataclass(frozen=True, eq=False)
class Motion:
    """Pose at every time step: xy (K, 2) of the box centre in the world, yaw (K,). One row means it never moves."""

    xy: np.ndarray
    yaw: np.ndarray

    @cached_property
    def still(self) -> bool:
        """Whether it never moves."""
        return bool((self.xy == self.xy[0]).all() and (self.yaw == self.yaw[0]).all())

    def at(self, step: float) -> tuple[float, float, float]:
        """x, y, yaw at a time step, or between two."""
        x, y = row_at(self.xy, step)
        return float(x), float(y), float(row_at(self.yaw, step))

    def speed(self, step: float, dt: float) -> float:
        """Speed in m/s around a time step of `dt` seconds."""
        if len(self.yaw) < 2:
            return 0.0
        low, high = max(0, round(step) - 1), min(len(self.yaw) - 1, round(step) + 1)
        return float(np.linalg.norm(self.xy[high] - self.xy[low]) / ((high - low) * dt))

    def travelled(self, step: float) -> float:
        """Distance covered up to a time step, metres."""
        return float(np.linalg.norm(np.diff(self.xy[: int(step) + 1], axis=0), axis=1).sum())


@dataclass(frozen=True, eq=False)
class Track(Motion):
    """Motion between poses at any times, given as rising time steps `steps` (K,); straight on beyond the ends."""

    steps: np.ndarray

    def at(self, step: float) -> tuple[float, float, float]:
        """See Motion."""
        if len(self.steps) == 1:
            return float(self.xy[0, 0]), float(self.xy[0, 1]), float(self.yaw[0])
        low = int(np.clip(np.searchsorted(self.steps, step) - 1, 0, len(self.steps) - 2))
        share = (step - self.steps[low]) / (self.steps[low + 1] - self.steps[low])
        x, y = self.xy[low] + share * (self.xy[low + 1] - self.xy[low])
        return float(x), float(y), float(self.yaw[low] + share * (self.yaw[low + 1] - self.yaw[low]))

    def speed(self, step: float, dt: float) -> float:
        """See Motion: over half a second around."""
        ahead, behind = (np.array(self.at(step + side)[:2]) for side in (5.0, -5.0))
        return float(np.linalg.norm(ahead - behind) / (10.0 * dt))

    def travelled(self, step: float) -> float:
        """See Motion."""
        done = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(self.xy, axis=0), axis=1))])
        return float(np.interp(step, self.steps, done))


def still(x: float, y: float, yaw: float) -> Motion:
    """The motion of something that stands."""
    return Motion(np.array([[x, y]]), np.array([yaw]))


@dataclass(frozen=True, eq=False)
class Actor:
    """One annotated object. `mesh_at(distance travelled in m)` gives its mesh in local axes (people swing their
    limbs).
    """

    name: str  # detection class
    category: str
    size: Size
    motion: Motion
    mesh_at: Callable[[float], Mesh]
    at_rest: str  # attribute while standing, '' if the class has none
    moving: str  # attribute while moving
    animated: bool = False
    lifetime: tuple[float, float] = (-math.inf, math.inf)  # time steps

    def attribute(self, step: float, dt: float) -> str:
        """nuScenes attribute name at a time step, '' for classes that have none."""
        return self.moving if self.motion.speed(step, dt) > 0.25 else self.at_rest

    def travelled(self, step: float) -> float:
        """Distance covered up to a time step, metres."""
        return self.motion.travelled(step)

    def present(self, step: float) -> bool:
        """Whether it is in the scene at a time step."""
        return self.lifetime[0] <= step <= self.lifetime[1]
