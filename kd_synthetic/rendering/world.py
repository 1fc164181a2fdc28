"""One scene, complete: roads, people and vehicles, scenery, ground, light and rig; and its triangles at any time
step, ready for rays.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from kd_perception.geometry.transforms import make_transform
from kd_synthetic.assets.buildings import facade_atlas
from kd_synthetic.assets.mesh import Material, Mesh, box, join, quads
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
AO_CELL, AO_REACH = 0.25, 48.0  # contact shadows: cell size and reach around the ego, metres
ACTOR_REACH = 140.0


@dataclass(frozen=True, eq=False)
class Hits:
    """What N rays meet: their origins and unit directions (N, 3), distance (inf for none), triangle (-1 for none),
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
        return self.origins[index] + self.distance[index, None] * self.directions[index]


class Tracer:
    """Embree over triangles (T, 3, 3)."""

    def __init__(self, vertices: np.ndarray) -> None:
        self._scene = EmbreeScene()
        self._mesh = TriangleMesh(self._scene, np.ascontiguousarray(vertices, np.float32))

    def closest(self, origins: np.ndarray, directions: np.ndarray) -> Hits:
        """First hit of rays (N, 3) float32 with unit directions (N, 3)."""
        out = self._scene.run(origins, directions, output=True)
        return Hits(origins, directions, out["tfar"], out["primID"], out["u"], out["v"])

    def blocked(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray | None = None) -> np.ndarray:
        """Whether anything lies along each ray (N,), at most `reach` (N,) float32 away if given."""
        return self._scene.run(origins, directions, dists=reach, query="OCCLUDED") >= 0


@dataclass(frozen=True, eq=False)
class Geometry:
    """The triangles at a time step. Owner (T,) is the actor's index, -1 for scenery; slices[i] are actor i's
    triangles.
    """

    step: float
    mesh: Mesh
    owner: np.ndarray
    slices: dict[int, slice]
    tracer: Tracer
    contact: np.ndarray  # (G, G) how much of the sky actors hide from the ground, around contact_centre
    contact_centre: np.ndarray
    lamps: Lamps | None  # while they are lit


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
        x, y, _ = self.ego.at(step)
        parts, owners, slices, count = [self._static], [np.full(len(self._static), -1, np.int16)], {}, len(self._static)
        footprint = np.zeros((round(2 * AO_REACH / AO_CELL),) * 2, np.uint8)
        for index, actor in enumerate(self.actors):
            ax, ay, ayaw = actor.motion.at(step)
            if not actor.present(step) or np.hypot(ax - x, ay - y) > ACTOR_REACH:
                continue
            ox, oy, _ = self._offset
            mesh = actor.mesh_at(actor.travelled(step) if actor.animated else 0.0).moved(ax - ox, ay - oy, ayaw, 0.0)
            parts.append(mesh)
            owners.append(np.full(len(mesh), index, np.int16))
            slices[index] = slice(count, count + len(mesh))
            count += len(mesh)
            half = np.array(actor.size[:2]) / 2 * 0.92
            corners = (
                np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]])
                * half
                @ np.array([[np.cos(ayaw), np.sin(ayaw)], [-np.sin(ayaw), np.cos(ayaw)]])
            )
            cv2.fillPoly(
                footprint,
                [np.round((corners + (ax - x + AO_REACH, ay - y + AO_REACH)) / AO_CELL).astype(np.int32)],
                255,
            )
        mesh = join(parts)
        contact = cv2.GaussianBlur(footprint.astype(np.float32) / 255.0, (0, 0), 1.6)
        return Geometry(
            step,
            mesh,
            np.concatenate(owners),
            slices,
            Tracer(mesh.vertices),
            contact,
            np.array([x, y]) - self._offset[:2],
            self._lamps(mesh, slices, step) if self.light.lamp_scale else None,
        )

    def local_from_ego(self, world_from_ego: np.ndarray) -> np.ndarray:
        """A pose (4, 4) of the ego in the geometry's axes."""
        return make_transform(world_from_ego[:3, :3], world_from_ego[:3, 3] - self._offset)

    def _lamps(self, mesh: Mesh, slices: dict[int, slice], step: float) -> Lamps:
        ox, oy, _ = self._offset
        poses = {index: self.actors[index].motion.at(step) for index in slices}
        there = [(self.actors[i], slices[i], (x - ox, y - oy, yaw)) for i, (x, y, yaw) in poses.items()]
        ego = self.local_from_ego(self.world_from_ego(step))
        street = self.scenery.lamps - self._offset
        return light_up(mesh, there, street, self.light, ego)

    @cached_property
    def _static(self) -> Mesh:
        plane = quads(
            np.array([[(-FAR, -FAR, 0), (FAR, -FAR, 0), (FAR, FAR, 0), (-FAR, FAR, 0)]]),
            (0.2, 0.2, 0.2),
            Material.GROUND,
        )
        scenery = self.scenery.mesh
        shifted = scenery.vertices.astype(np.float64) - self._offset
        return join([plane, *self._lit_lamp_heads(), replace(scenery, vertices=shifted.astype(np.float32))])

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
