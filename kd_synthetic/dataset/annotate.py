"""Honest annotations of one keyframe: LiDAR points counted in the box, visibility counted in pixels, nothing that no
sensor sees.
"""

from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.box_geometry import count_points_in_boxes
from kd_synthetic.rendering.camera import Exposure
from kd_synthetic.rendering.geometry import Geometry
from kd_synthetic.rendering.tracer import TreeTracer
from kd_synthetic.rendering.world import World
from kd_synthetic.streets.traffic import DT

MAX_DISTANCE = 90.0  # metres from the ego
SAMPLES = 260  # rays that measure one actor's unoccluded silhouette in one camera, about
VISIBILITY_EDGES = (0.4, 0.6, 0.8)  # nuScenes' four levels


@dataclass(frozen=True)
class Annotation:
    """One box of one keyframe in world coordinates."""

    actor: int
    centre: tuple[float, float, float]
    size: tuple[float, float, float]  # l, w, h
    yaw: float
    attribute: str
    lidar_points: int
    visibility: int  # 1-4
    pixels: int
    speed: float


def _pinhole_window(exposure: Exposure, index: int, ego_from_local: np.ndarray) -> tuple[int, int, int, int] | None:
    """Columns u0 to u1 and rows v0 to v1 that an actor can reach in a picture without distortion."""
    camera = exposure.renderer.camera
    corners = exposure.geometry.mesh.vertices[exposure.geometry.slices[index]].reshape(-1, 3)
    optical = (
        corners @ ego_from_local[:3, :3].T + ego_from_local[:3, 3] - camera.ego_from_camera[:3, 3]
    ) @ camera.ego_from_camera[:3, :3]
    depth = optical[:, 2]
    if depth.max() < 0.2:
        return None
    focal = camera.intrinsics[0, 0]
    ahead = optical[depth > 0.2]
    u = ahead[:, 0] / ahead[:, 2] * focal + camera.intrinsics[0, 2]
    v = ahead[:, 1] / ahead[:, 2] * focal + camera.intrinsics[1, 2]
    if depth.min() < 0.2:  # reaches behind the image plane: search the whole image
        return 0, camera.width, 0, camera.height
    u0, u1 = max(0, int(np.floor(u.min()))), min(camera.width, int(np.ceil(u.max())) + 1)
    v0, v1 = max(0, int(np.floor(v.min()))), min(camera.height, int(np.ceil(v.max())) + 1)
    return u0, u1, v0, v1


def _window(exposure: Exposure, index: int) -> tuple[int, int, int, int] | None:
    """The same for any lens: the pixels whose rays lie within the cone around an actor."""
    origins, directions = exposure.rays
    corners = exposure.geometry.mesh.vertices[exposure.geometry.slices[index]].reshape(-1, 3) - origins[0]
    towards = corners / (np.linalg.norm(corners, axis=1, keepdims=True) + 1e-6)
    axis = (corners.min(0) + corners.max(0)) / 2
    axis /= np.linalg.norm(axis) + 1e-6
    camera = exposure.renderer.camera
    within = (directions @ axis >= (towards @ axis).min() - 1e-4).reshape(camera.height, camera.width)
    rows, columns = np.flatnonzero(within.any(1)), np.flatnonzero(within.any(0))
    return (columns[0], columns[-1] + 1, rows[0], rows[-1] + 1) if len(rows) else None


def _grid(exposure: Exposure, index: int, ego_from_local: np.ndarray) -> tuple[np.ndarray, int] | None:
    """A regular sub-grid of the pixels that an actor can reach in a picture: their numbers (N,), and its stride."""
    camera = exposure.renderer.camera
    ideal = camera.distortion_model == "none"
    window = _pinhole_window(exposure, index, ego_from_local) if ideal else _window(exposure, index)
    if window is None or window[0] >= window[1] or window[2] >= window[3]:
        return None
    u0, u1, v0, v1 = window
    stride = max(1, int(np.sqrt((u1 - u0) * (v1 - v0) / SAMPLES)))
    rows, columns = np.meshgrid(
        np.arange(v0 + stride // 2, v1, stride), np.arange(u0 + stride // 2, u1, stride), indexing="ij"
    )
    return (rows * camera.width + columns).ravel(), stride


def _silhouette(exposure: Exposure, index: int, grid: tuple[np.ndarray, int], tracer: TreeTracer) -> np.ndarray:
    """Pixels of an actor that one camera sees, and that it would see with nothing in between (2,), both estimated on
    a sub-grid; the tracer knows the actor alone.
    """
    pixel, stride = grid
    alone = tracer.blocked(exposure.rays[0][pixel], exposure.rays[1][pixel]) & ~exposure.renderer.blind[pixel]
    seen = exposure.owner.ravel()[pixel] == index
    return np.array(((seen & alone).sum(), alone.sum()), float) * stride**2


def _visibility(exposures: list[Exposure], locals_: list[np.ndarray], index: int) -> int:
    """nuScenes' visibility level (1-4) of an actor over all exposures."""
    tracers: dict[int, TreeTracer] = {}  # one a geometry that shows it: exposures of one instant share theirs
    pixels = np.zeros(2)
    for exposure, ego_from_local in zip(exposures, locals_, strict=True):
        geometry = exposure.geometry
        grid = _grid(exposure, index, ego_from_local) if index in geometry.slices else None
        if grid is None:
            continue
        if id(geometry) not in tracers:
            tracers[id(geometry)] = TreeTracer(geometry.mesh.vertices[geometry.slices[index]])
        pixels += _silhouette(exposure, index, grid, tracers[id(geometry)])
    seen, alone = pixels
    return 1 + int(np.searchsorted(VISIBILITY_EDGES, seen / alone, side="right")) if alone else 1


def _ego_from_local(world: World, world_from_ego: np.ndarray) -> np.ndarray:
    local_from_ego = world_from_ego.copy()
    local_from_ego[:3, 3] = world.to_local(world_from_ego[:3, 3])
    return np.linalg.inv(local_from_ego)


def annotate(
    world: World, geometry: Geometry, ego: np.ndarray, exposures: list[Exposure], cloud: np.ndarray
) -> list[Annotation]:
    """Annotations of a keyframe from its pictures and its cloud (N, 3) in world coordinates.

    Boxes are those of the geometry's time step, up to MAX_DISTANCE from the ego at (2,).
    """
    step = geometry.step
    chosen = [
        index
        for index in geometry.slices
        if np.linalg.norm(np.array(world.actors[index].motion.at(step)[:2]) - ego) < MAX_DISTANCE
    ]
    poses = np.array([world.actors[index].motion.at(step) for index in chosen]).reshape(-1, 3)
    sizes = np.array([world.actors[index].size for index in chosen]).reshape(-1, 3)
    centres = np.column_stack([poses[:, :2], sizes[:, 2] / 2]).round(3)
    points = count_points_in_boxes(cloud, centres, sizes, poses[:, 2])
    locals_ = [_ego_from_local(world, exposure.world_from_ego) for exposure in exposures]
    counts = sum(
        np.bincount(exposure.owner[exposure.owner >= 0], minlength=len(world.actors)) for exposure in exposures
    )
    result = []
    for row, index in enumerate(chosen):
        pixels = int(counts[index])
        if pixels == 0 and points[row] == 0:
            continue
        level = _visibility(exposures, locals_, index) if pixels else 1
        actor = world.actors[index]
        result.append(
            Annotation(
                index,
                tuple(centres[row].tolist()),
                actor.size,
                float(poses[row, 2]),
                actor.attribute(step, DT),
                int(points[row]),
                level,
                pixels,
                actor.motion.speed(step, DT),
            )
        )
    return result
