"""One scene, complete: roads, people and vehicles, scenery, ground, light and rig; and its triangles at any time
step, ready for rays.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from kd_perception.geometry.transforms import make_transform
from kd_synthetic.assets.buildings import facade_atlas
from kd_synthetic.assets.mesh import Material, Mesh, box, join, quads
from kd_synthetic.rendering.geometry import Geometry, Placed, Placement, contact_shadows
from kd_synthetic.rendering.hours import build_light
from kd_synthetic.rendering.lamps import STREET_LAYER, Lamps, light_up
from kd_synthetic.rendering.light import Lighting
from kd_synthetic.rendering.sensors import SensorRig, build_rig
from kd_synthetic.streets.actors import Actor, Motion, row_at
from kd_synthetic.streets.cities import CITIES
from kd_synthetic.streets.conditions import DEFAULT_CONDITIONS, Conditions
from kd_synthetic.streets.crowd import EGO_CENTRE_AHEAD
from kd_synthetic.streets.ground import GroundMap, paint_ground
from kd_synthetic.streets.population import populate
from kd_synthetic.streets.roads import build_roads
from kd_synthetic.streets.scenery import Scenery, build_scenery

FAR = 1500.0  # half the side of the ground plane, metres


@dataclass(frozen=True, eq=False)
class World:
    """A scene's contents; `ego` is the rear axle's motion, one row for each 0.05 s step."""

    name: str
    ego: Motion
    tilt: np.ndarray  # (K, 2) pitch and roll of the ego, radians
    actors: tuple[Actor, ...]
    scenery: Scenery
    ground: GroundMap
    light: Lighting
    rig: SensorRig
    facades: np.ndarray
    camera_gain: np.ndarray  # (6,) exposure of the first, second ... camera relative to the scene's

    def world_from_ego(self, step: float) -> np.ndarray:
        """Pose (4, 4) of base_link at a time step, or between two."""
        x, y, yaw = self.ego.at(step)
        pitch, roll = row_at(self.tilt, step)
        cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
        rz = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
        ry = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        rx = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        return make_transform(rz @ ry @ rx, (x, y, 0.0))

    @cached_property
    def _offset(self) -> np.ndarray:
        """A nearby origin for float32 geometry, so that world coordinates of kilometres lose no precision."""
        return np.append(np.round(self.ego.xy[0]), 0.0)

    def to_local(self, xyz: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the geometry's float32 axes (shifted, not turned)."""
        return np.asarray(xyz - self._offset, np.float32)

    def geometry(self, step: float) -> Geometry:
        """All triangles at a time step, in axes shifted by `to_local`."""
        centre = np.array(self.ego.at(step)[:2])
        present = self._placement.present(step, centre)
        contact = contact_shadows([self.actors[index] for index in present], step, centre)
        placed = self._placement.place(step, present)
        return Geometry(step, placed, contact, centre - self._offset[:2], partial(self._lamps, step))

    def local_from_ego(self, world_from_ego: np.ndarray) -> np.ndarray:
        """A pose (4, 4) of the ego in the geometry's axes."""
        return make_transform(world_from_ego[:3, :3], world_from_ego[:3, 3] - self._offset)

    def _lamps(self, step: float, placed: Placed) -> Lamps | None:
        if not self.light.lamp_scale:
            return None
        ox, oy, _ = self._offset
        poses = {index: self.actors[index].motion.at(step) for index in placed.slices}
        there = [(self.actors[i], placed.slices[i], (x - ox, y - oy, yaw)) for i, (x, y, yaw) in poses.items()]
        ego = self.local_from_ego(self.world_from_ego(step))
        street = self.scenery.lamps - self._offset
        return light_up(placed.mesh, there, street, self.light, ego)

    @cached_property
    def _placement(self) -> Placement:
        plane = quads(
            np.array([[(-FAR, -FAR, 0), (FAR, -FAR, 0), (FAR, FAR, 0), (-FAR, FAR, 0)]]),
            (0.2, 0.2, 0.2),
            Material.GROUND,
        )
        scenery = self.scenery.mesh
        shifted = replace(scenery, vertices=(scenery.vertices.astype(np.float64) - self._offset).astype(np.float32))
        return Placement(join([plane, *self._lit_lamp_heads(), shifted]), self.actors, self._offset)

    def _lit_lamp_heads(self) -> list[Mesh]:
        """The light of the street lamps, while they are lit."""
        if not self.light.lamp_scale:
            return []
        colour = tuple(self.light.lamp_colour.tolist())
        heads = [box(centre, (0.55, 0.3, 0.05), colour, Material.LIGHT) for centre in self.scenery.lamps - self._offset]
        return [replace(head, layer=np.full_like(head.layer, STREET_LAYER)) for head in heads]

    @property
    def local_ground_origin(self) -> np.ndarray:
        """The ground picture's corner in local axes (2,)."""
        return self.ground.origin - self._offset[:2]


def _tilts(steps: int, rng: np.random.Generator) -> np.ndarray:
    """Small pitch and roll of a car on its springs (K, 2), radians."""
    t = np.arange(steps) * 0.05
    phases = rng.uniform(0, 2 * np.pi, (2, 3))
    waves = [
        sum(np.sin(2 * np.pi * f * t + p) for f, p in zip((0.31, 0.7, 1.3), row, strict=True)) / 3 for row in phases
    ]
    return np.stack(waves, -1) * np.radians((0.35, 0.3)) + np.radians(0.15) * rng.standard_normal(2)


def build_world(
    name: str,
    seed: np.random.SeedSequence,
    steps: int,
    *,
    size: tuple[int, int],
    rig: str = "nuscenes",
    conditions: Conditions = DEFAULT_CONDITIONS,
) -> World:
    """The scene that belongs to a seed, for `steps` time steps of 0.05 s and images of `size` (width, height).

    The rig changes neither streets nor traffic.
    """
    for_roads, for_crowd, for_scenery, for_ground, for_light, for_rig, for_variation = (
        np.random.default_rng(child) for child in seed.spawn(7)
    )
    city = CITIES[conditions.city]
    roads = build_roads(for_roads, city)
    crowd = populate(roads, steps, for_crowd, city)
    taken = np.concatenate([crowd.ego.xy[::5] + EGO_CENTRE_AHEAD, *[actor.motion.xy[::5] for actor in crowd.actors]])
    return World(
        name,
        crowd.ego,
        _tilts(steps, for_rig),
        crowd.actors,
        build_scenery(roads, crowd.ego.xy, taken, for_scenery, city),
        paint_ground(roads, crowd.ego.xy, for_ground, city),
        build_light(conditions, for_light),
        build_rig(*size, for_rig, rig, for_variation),
        facade_atlas(for_scenery),
        1.0 + 0.05 * for_rig.standard_normal(6),
    )
