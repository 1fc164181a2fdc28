"""Honest annotations of one keyframe: LiDAR points counted in the box, visibility counted in pixels, nothing that no
sensor sees.
"""

from dataclasses import dataclass

import numpy as np

from kd_training.synthetic.camera import CameraRenderer, Frame
from kd_training.synthetic.lidar import points_in_boxes
from kd_training.synthetic.sensors import CameraSensor
from kd_training.synthetic.traffic import DT
from kd_training.synthetic.world import Geometry, Tracer, World

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


def _silhouette(
    geometry: Geometry,
    index: int,
    tracer: Tracer,
    camera: CameraSensor,
    rays: tuple[np.ndarray, np.ndarray],
    frame: Frame,
    ego_from_local: np.ndarray,
) -> tuple[float, float]:
    """Pixels of an actor that one camera sees, and that it would see with nothing in between (both estimated on a
    regular sub-grid).
    """
    corners = geometry.mesh.vertices[geometry.slices[index]].reshape(-1, 3)
    optical = (
        corners @ ego_from_local[:3, :3].T + ego_from_local[:3, 3] - camera.ego_from_camera[:3, 3]
    ) @ camera.ego_from_camera[:3, :3]
    depth = optical[:, 2]
    if depth.max() < 0.2:
        return 0.0, 0.0
    focal = camera.intrinsics[0, 0]
    ahead = optical[depth > 0.2]
    u = ahead[:, 0] / ahead[:, 2] * focal + camera.intrinsics[0, 2]
    v = ahead[:, 1] / ahead[:, 2] * focal + camera.intrinsics[1, 2]
    cut = depth.min() < 0.2  # reaches behind the image plane: search the whole image
    u0, u1 = (
        (0, camera.width) if cut else (max(0, int(np.floor(u.min()))), min(camera.width, int(np.ceil(u.max())) + 1))
    )
    v0, v1 = (
        (0, camera.height) if cut else (max(0, int(np.floor(v.min()))), min(camera.height, int(np.ceil(v.max())) + 1))
    )
    if u0 >= u1 or v0 >= v1:
        return 0.0, 0.0
    stride = max(1, int(np.sqrt((u1 - u0) * (v1 - v0) / SAMPLES)))
    rows, columns = np.meshgrid(
        np.arange(v0 + stride // 2, v1, stride), np.arange(u0 + stride // 2, u1, stride), indexing="ij"
    )
    pixel = (rows * camera.width + columns).ravel()
    alone = tracer.blocked(rays[0][pixel], rays[1][pixel])
    seen = frame.owner.ravel()[pixel] == index
    return float((seen & alone).sum() * stride**2), float(alone.sum() * stride**2)


def annotate(
    world: World,
    geometry: Geometry,
    step: int,
    frames: list[Frame],
    renderers: list[CameraRenderer],
    cloud: np.ndarray,
) -> list[Annotation]:
    """Annotations of a keyframe from its six pictures and its cloud (N, 3) in world coordinates."""
    pose = world.world_from_ego(step)
    local_from_ego = pose.copy()
    local_from_ego[:3, 3] = world.to_local(pose[:3, 3])
    ego_from_local = np.linalg.inv(local_from_ego)
    chosen = [
        index
        for index in geometry.slices
        if np.linalg.norm(np.array(world.actors[index].motion.at(step)[:2]) - pose[:2, 3]) < MAX_DISTANCE
    ]
    poses = np.array([world.actors[index].motion.at(step) for index in chosen]).reshape(-1, 3)
    sizes = np.array([world.actors[index].size for index in chosen]).reshape(-1, 3)
    centres = np.column_stack([poses[:, :2], sizes[:, 2] / 2]).round(3)
    points = points_in_boxes(cloud, centres, sizes, poses[:, 2])
    rays = [renderer.rays(pose) for renderer in renderers]
    counts = sum(np.bincount(frame.owner[frame.owner >= 0], minlength=len(world.actors)) for frame in frames)
    result = []
    for row, index in enumerate(chosen):
        pixels = int(counts[index])
        if pixels == 0 and points[row] == 0:
            continue
        level = 1
        if pixels:
            tracer = Tracer(geometry.mesh.vertices[geometry.slices[index]])
            pairs = [
                _silhouette(geometry, index, tracer, camera, ray, frame, ego_from_local)
                for camera, ray, frame in zip(world.rig.cameras, rays, frames, strict=True)
            ]
            seen, alone = np.sum(pairs, axis=0)
            level = 1 + int(np.searchsorted(VISIBILITY_EDGES, seen / alone, side="right")) if alone else 1
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
