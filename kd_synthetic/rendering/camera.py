"""Pictures: one ray a pixel, shaded, then the effects of lens, weather and sensor."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from kd_synthetic.assets.mesh import Material
from kd_synthetic.rendering.geometry import Geometry
from kd_synthetic.rendering.glow import lamp_glow
from kd_synthetic.rendering.rain import LensDrops, falling_streaks, wet_road
from kd_synthetic.rendering.sensors import CameraSensor
from kd_synthetic.rendering.shading import Shader
from kd_synthetic.rendering.world import World

_TONE = (1.0 - np.exp(-np.linspace(0, 6, 4096))) ** (1 / 2.2)
_GAMMA = ((0.65 * _TONE + 0.35 * _TONE**2 * (3.0 - 2.0 * _TONE)) * 255.0).astype(
    np.float32
)  # tone curve, index = exposed radiance / 6 * 4095


class CameraRenderer:
    """Renders one camera of a world, frame after frame."""

    def __init__(self, world: World, camera: CameraSensor, gain: float) -> None:
        self._world, self.camera, self._gain = world, camera, gain
        rays = camera.rays()
        self.blind = np.isnan(rays[:, 0])  # (H * W,) pixels behind the lens' edge: black
        self._rays_ego = np.where(self.blind[:, None], camera.ego_from_camera[:3, 2].astype(np.float32), rays)
        self._shader = Shader(world, 1.0 / camera.intrinsics[0, 0])  # radians a pixel covers, about

    @cached_property
    def _vignette(self) -> np.ndarray:
        height, width = self.camera.height, self.camera.width
        y, x = np.mgrid[0:height, 0:width]
        radius = ((x - self.camera.intrinsics[0, 2]) ** 2 + (y - self.camera.intrinsics[1, 2]) ** 2) / (width / 2) ** 2
        return (1.0 - 0.16 * radius).astype(np.float32)[..., None]

    @staticmethod
    def of_rig(world: World) -> "list[CameraRenderer]":
        """One renderer for each camera of the world's rig."""
        pairs = zip(world.rig.cameras, world.camera_gain.tolist(), strict=False)  # a fisheye rig has fewer cameras
        return [CameraRenderer(world, camera, gain) for camera, gain in pairs]

    def rays(self, world_from_ego: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins and unit directions (H * W, 3) float32 in the geometry's axes."""
        directions = self._rays_ego @ world_from_ego[:3, :3].T.astype(np.float32)
        centre = self._world.to_local((world_from_ego @ self.camera.ego_from_camera)[:3, 3])
        return np.ascontiguousarray(np.broadcast_to(centre, directions.shape)), directions

    def render(self, geometry: Geometry, world_from_ego: np.ndarray, rng: np.random.Generator) -> "Exposure":
        """The picture at a time step; `rng` makes the sensor noise."""
        hits = geometry.tracer.closest(*self.rays(world_from_ego))
        shaded = self._shader.shade(geometry, hits)
        hit, shape = hits.triangle >= 0, (self.camera.height, self.camera.width)
        owner = np.where(hit, geometry.owner[hits.triangle], -1).astype(np.int16)
        distance = np.where(hit, hits.distance, np.inf)
        owner[self.blind], distance[self.blind] = -1, np.inf
        radiance, light = shaded.radiance.reshape(*shape, 3), self._world.light
        if light.wet:
            radiance = wet_road(self._shader, geometry, hits, shaded, shape)
        if geometry.lamps is not None:
            ground = (shaded.material == Material.GROUND).reshape(shape) if light.wet else None
            pose = self._world.local_from_ego(world_from_ego)
            radiance = radiance + lamp_glow(geometry.lamps, self.camera, pose, geometry.tracer, ground)
        if light.wet:
            radiance = self._drops.through(falling_streaks(radiance, light.rain, rng))
        radiance[self.blind.reshape(shape)] = 0.0
        image = self._expose(radiance, rng)
        return Exposure(self, world_from_ego, geometry, image, owner.reshape(shape), distance.reshape(shape))

    @cached_property
    def _drops(self) -> LensDrops:
        camera = self.camera
        return LensDrops(self._world.name + camera.channel, self._world.light.rain, camera.width, camera.height)

    def _expose(self, radiance: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        light = self._world.light
        exposed = cv2.GaussianBlur(radiance, (3, 3), 0.5) * self._vignette * np.float32(light.exposure * self._gain)
        coded = _GAMMA[np.clip(exposed * (4095 / 6.0), 0, 4095).astype(np.int16)]
        noise = rng.standard_normal(coded.shape, dtype=np.float32)
        return np.clip(coded + noise * np.float32(light.noise) + 0.5, 0, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Exposure:
    """One picture (H, W, 3) uint8 RGB with the renderer that took it, the ego's pose (4, 4) and the triangles.

    For every pixel (H, W) `owner` is the actor's index or -1, `distance` the range along its ray in metres or infinity.
    """

    renderer: CameraRenderer
    world_from_ego: np.ndarray
    geometry: Geometry
    image: np.ndarray
    owner: np.ndarray
    distance: np.ndarray

    @cached_property
    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Origins and directions (H * W, 3) of the pixels."""
        return self.renderer.rays(self.world_from_ego)
