"""Point clouds of a 32-beam spinning LiDAR: range noise, reflectivity, drop-out. One turn is taken at one instant
(no rolling shutter).
"""

import numpy as np

from kd_perception.geometry.transforms import apply
from kd_synthetic.assets.mesh import Material
from kd_synthetic.rendering.geometry import Geometry
from kd_synthetic.rendering.sensors import lidar_rays
from kd_synthetic.rendering.tracer import Hits
from kd_synthetic.rendering.world import World
from kd_synthetic.streets.ground import GroundMap

RANGE_NOISE = 0.02  # metres, one deviation
MIN_RANGE, MAX_RANGE = 1.2, 105.0
_ROUGHNESS = {
    Material.PAINT: 0.75,
    Material.GLASS: 0.12,
    Material.METAL: 0.8,
    Material.FACADE: 0.9,
}  # share of the light that comes back diffusely


def _reflectivity(geometry: Geometry, triangle: np.ndarray, ground: GroundMap) -> np.ndarray:
    """Near-infrared reflectivity (N,) in [0, 1]."""
    colour, material = geometry.mesh.colour[triangle].mean(1), geometry.mesh.material[triangle]
    value = 0.12 + 0.75 * colour
    value[material == Material.FOLIAGE] = 0.45
    value[material == Material.GROUND] = 0.1 + 0.6 * float(ground.far_colour.mean())
    for kind, share in _ROUGHNESS.items():
        value[material == kind] *= share
    return np.clip(value, 0.02, 1.0)


def _rain_echoes(
    hits: Hits, rain: float, directions: np.ndarray, ring: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Echoes of drops near the sensor: points (N, 5), and the rays (M,) that ended there."""
    distance = 1.0 + rng.exponential(2.2, len(ring))
    struck = (rng.random(len(ring)) < 0.012 * rain) & (distance < np.where(hits.triangle >= 0, hits.distance, np.inf))
    struck &= distance > MIN_RANGE
    index = np.flatnonzero(struck)
    intensity = rng.integers(0, 6, len(index))
    return np.column_stack([directions[index] * distance[index, None], intensity, ring[index]]), index


def scan(world: World, geometry: Geometry, world_from_ego: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One turn from an ego pose (4, 4): (N, 5) float32 x, y, z (LiDAR frame: x right, y forward), intensity, ring.

    In rain, echoes fade with the range, wet ground mirrors the beam away at flat angles, and drops near by return some.
    """
    world_from_lidar = world_from_ego @ world.rig.ego_from_lidar
    in_lidar, ring = lidar_rays()
    directions = in_lidar @ world_from_lidar[:3, :3].T.astype(np.float32)
    origin = world.to_local(world_from_lidar[:3, 3])
    hits = geometry.tracer.closest(np.ascontiguousarray(np.broadcast_to(origin, directions.shape)), directions)
    index = np.flatnonzero((hits.triangle >= 0) & (hits.distance > MIN_RANGE) & (hits.distance < MAX_RANGE))
    triangle, distance = hits.triangle[index], hits.distance[index]
    normal = geometry.mesh.normals[triangle].mean(1)
    cosine = np.abs(np.einsum("ni,ni->n", normal, directions[index])) / (np.linalg.norm(normal, axis=1) + 1e-6)
    strength = _reflectivity(geometry, triangle, world.ground) * (0.25 + 0.75 * cosine)
    retro = geometry.mesh.material[triangle] == Material.RETRO
    rain = world.light.rain
    if rain:
        strength = strength * np.exp(-0.03 * rain * distance)
        ground = geometry.mesh.material[triangle] == Material.GROUND
        strength[ground] *= np.clip(cosine[ground] / 0.35, 0.1, 1.0)
    strength[retro] = 1.0
    echo = strength * (1.0 + 0.1 * rng.standard_normal(len(index))) * (32.0 / np.maximum(distance, 8.0)) ** 2
    kept = (rng.random(len(index)) < np.clip(echo / 0.05, 0.0, 1.0)) & (rng.random(len(index)) > 0.015)
    measured = distance + RANGE_NOISE * rng.standard_normal(len(index))
    xyz = in_lidar[index] * measured[:, None]
    intensity = np.clip(
        np.where(retro, 190 + 50 * cosine, strength * 60.0) + 2.0 * rng.standard_normal(len(index)), 0, 255
    ).round()
    points = np.column_stack([xyz, intensity, ring[index]]).astype(np.float32)
    if not rain:
        return points[kept]
    drops, struck = _rain_echoes(hits, rain, in_lidar, ring, rng)
    return np.concatenate([points[kept & ~np.isin(index, struck)], drops.astype(np.float32)])


def points_in_world(world: World, world_from_ego: np.ndarray, points: np.ndarray) -> np.ndarray:
    """World positions (N, 3) of a scan's points."""
    return apply(world_from_ego @ world.rig.ego_from_lidar, points[:, :3].astype(np.float64))
