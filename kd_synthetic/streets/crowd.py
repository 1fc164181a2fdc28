"""Collects the annotated objects of a scene and refuses whatever would ever touch an earlier one, or the ego
vehicle.
"""

from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.box_geometry import Rectangles, rectangles_overlap
from kd_synthetic.assets.cars import build_car
from kd_synthetic.assets.machines import build_bus, build_construction_vehicle
from kd_synthetic.assets.mesh import Size
from kd_synthetic.assets.people import build_bicycle, build_motorcycle, build_pedestrian
from kd_synthetic.assets.trucks import build_trailer, build_truck
from kd_synthetic.streets.actors import (
    CATEGORY_OF_CLASS,
    PEDAL,
    WALK,
    Actor,
    Build,
    Motion,
    cyclic_mesh,
    sample_size,
)

EGO_SIZE: Size = (4.6, 1.9, 1.7)
EGO_CENTRE_AHEAD = 1.35  # of the rear axle, metres


@dataclass(frozen=True)
class Looks:
    """What an actor is: detection class, how to build it, attributes, category (its class's if empty).

    `stride` is the distance in metres after which its limbs repeat, 0 if they do not move.
    """

    name: str
    build: Build
    at_rest: str = ""
    moving: str = ""
    category: str = ""
    stride: float = 0.0


class Crowd:
    """Collects actors and refuses those that would ever touch an earlier one."""

    def __init__(self, rng: np.random.Generator, steps: int, ego: Motion) -> None:
        self.rng, self.steps, self.actors = rng, steps, []
        index = np.unique(np.append(np.arange(0, steps, 4), steps - 1))
        self._index = index
        ahead = EGO_CENTRE_AHEAD * np.stack([np.cos(ego.yaw), np.sin(ego.yaw)], -1)
        ego_size = np.array((EGO_SIZE[0] + 1.0, EGO_SIZE[1] + 0.4))
        self._tracks = [Rectangles((ego.xy + ahead)[index], ego_size, ego.yaw[index])]

    def _track(self, motion: Motion, size: Size) -> Rectangles:
        steps = slice(None) if len(motion.yaw) == 1 else self._index
        return Rectangles(motion.xy[steps], np.array(size[:2]), motion.yaw[steps])

    def fits(self, motion: Motion, size: Size, margin: float = 0.25) -> bool:
        """Whether something that moves so stays `margin` metres away from all that is there."""
        track = self._track(motion, size)
        return not any(rectangles_overlap(other, track, margin).any() for other in self._tracks)

    def add(self, looks: Looks, motion: Motion, size: Size, margin: float = 0.25) -> bool:
        """Add an actor, if it fits; returns whether it does."""
        seed = int(self.rng.integers(2**62))
        if not self.fits(motion, size, margin):
            return False
        self._tracks.append(self._track(motion, size))
        mesh_at = cyclic_mesh(looks.build, seed, looks.stride)
        category = looks.category or CATEGORY_OF_CLASS[looks.name]
        self.actors.append(
            Actor(looks.name, category, size, motion, mesh_at, looks.at_rest, looks.moving, looks.stride > 0)
        )
        return True

    def vehicle(self, name: str, motion: Motion, size: Size, *, parked: bool, margin: float = 0.25) -> bool:
        """A car, truck, bus, trailer or construction vehicle."""
        build = {
            "car": build_car,
            "truck": build_truck,
            "bus": build_bus,
            "trailer": build_trailer,
            "construction_vehicle": build_construction_vehicle,
        }[name]
        rest = "vehicle.parked" if parked else "vehicle.stopped"
        return self.add(Looks(name, lambda rng, _: build(size, rng), rest, "vehicle.moving"), motion, size, margin)

    def cycle(self, name: str, motion: Motion, *, rider: bool) -> bool:
        """A bicycle or motorcycle, with or without rider."""
        length, width, height = sample_size(name, self.rng)
        height = height * (1.5 if name == "bicycle" else 1.12) if rider else height * 0.93
        size = (length, width, round(height, 3))
        scooter = self.rng.random() < 0.5
        attribute = "cycle.with_rider" if rider else "cycle.without_rider"
        if name == "bicycle":
            build, stride = lambda rng, phase: build_bicycle(size, rng, phase, rider=rider), PEDAL if rider else 0.0
        else:
            build, stride = lambda rng, _: build_motorcycle(size, rng, rider=rider, scooter=scooter), 0.0
        return self.add(Looks(name, build, attribute, attribute, stride=stride), motion, size)

    def person(self, motion: Motion, pose: str, *, worker: bool = False) -> bool:
        """A pedestrian 'walking', 'standing' or 'sitting'."""
        length, width, height = sample_size("pedestrian", self.rng)
        category = "human.pedestrian.construction_worker" if worker else "human.pedestrian.adult"
        if not worker and self.rng.random() < 0.07:
            length, width, height, category = length * 0.7, width * 0.7, height * 0.68, "human.pedestrian.child"
        if pose == "sitting":
            height *= 0.75
        size = (round(length, 3), round(width, 3), round(height, 3))
        looks = Looks(
            "pedestrian",
            lambda rng, phase: build_pedestrian(size, rng, phase, pose, worker=worker),
            "pedestrian.sitting_lying_down" if pose == "sitting" else "pedestrian.standing",
            "pedestrian.moving",
            category,
            WALK if pose == "walking" else 0.0,
        )
        return self.add(looks, motion, size, margin=0.15)
