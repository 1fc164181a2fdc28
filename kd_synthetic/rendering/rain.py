"""Rain in pictures: wet roads that mirror what is above them, falling streaks, drops on the lens."""

import zlib

import cv2
import numpy as np

from kd_synthetic.assets.mesh import Material
from kd_synthetic.assets.textures import wrap_sample
from kd_synthetic.rendering.geometry import Geometry
from kd_synthetic.rendering.shading import Shaded, Shader
from kd_synthetic.rendering.tracer import Hits

SPREAD = (0.0012, 0.008)  # deviation of the mirrored picture across and along, as shares of the image width
FARTHEST = 90.0  # metres up to which the road mirrors


def wet_road(shader: Shader, geometry: Geometry, hits: Hits, shaded: Shaded, shape: tuple[int, int]) -> np.ndarray:
    """Radiance (H, W, 3) of a picture whose ground is wet: darker, and with a blurred mirror image (Schlick's Fresnel
    term, deeper where puddles are). The mirror image is traced at half the resolution.
    """
    height, width = shape
    radiance = shaded.radiance.reshape(height, width, 3)
    wet = ((shaded.material == Material.GROUND) & (hits.distance < FARTHEST)).reshape(shape)
    rows, columns = np.nonzero(wet[::2, ::2])
    if len(rows) == 0:
        return radiance
    pixel = (2 * rows) * width + 2 * columns
    directions, points = hits.directions[pixel], hits.points(pixel)
    tile = (points[:, :2] - shader.world.local_ground_origin) / 3.0
    detail = shader.world.ground.detail
    slope = [wrap_sample(detail, tile[:, i] + 0.37 * i, tile[:, 1 - i])[:, 0] - 1.0 for i in (0, 1)]
    mirrored = directions * np.array((1, 1, -1), np.float32)
    mirrored[:, :2] += 0.25 * np.abs(directions[:, 2:]) * np.stack(slope, -1)
    mirrored /= np.linalg.norm(mirrored, axis=1, keepdims=True)
    starts = np.ascontiguousarray(points + np.array((0, 0, 0.02), np.float32), np.float32)
    mirrored = np.ascontiguousarray(mirrored, np.float32)
    seen = shader.shade(geometry, geometry.tracer.closest(starts, mirrored))
    small = np.zeros((*wet[::2, ::2].shape, 4), np.float32)
    small[rows, columns, :3], small[rows, columns, 3] = np.minimum(seen.radiance, 6.0), 1.0
    small = cv2.GaussianBlur(small, (0, 0), max(0.5, SPREAD[0] * width / 2), sigmaY=max(0.5, SPREAD[1] * width / 2))
    small[..., :3] /= np.maximum(small[..., 3:], 1e-3)
    mirror = cv2.resize(small[..., :3], (width, height), interpolation=cv2.INTER_LINEAR)[wet]
    return _blend(shader, hits, radiance.copy(), wet, mirror)


def _blend(shader: Shader, hits: Hits, radiance: np.ndarray, wet: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """The road's own light and its mirror image (N, 3) on the pixels `wet`, by the angle of sight and puddles."""
    index = np.flatnonzero(wet)
    directions, points = hits.directions[index], hits.points(index)
    tile = (points[:, :2] - shader.world.local_ground_origin) / 38.0
    puddle = wrap_sample(shader.world.ground.detail, tile[:, 0], tile[:, 1])[:, 0] - 1.0
    depth = np.clip(0.55 + 6.0 * puddle, 0.2, 1.0)
    fresnel = (0.03 + 0.8 * (1 - np.abs(directions[:, 2])) ** 5) * depth
    haze = np.exp(-hits.distance[index] / shader.world.light.haze_length)
    radiance[wet] = radiance[wet] * (1 - fresnel)[:, None] + mirror * (fresnel * haze)[:, None]
    return radiance


def falling_streaks(radiance: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """A picture (H, W, 3) with streaks of rain, which scatter some of the light behind and around them."""
    height, width = radiance.shape[:2]
    streaks = np.zeros((height, width), np.float32)
    slant = rng.normal(0, 0.12)
    for _ in range(int(amount * 0.35 * width)):
        x, y, near = rng.uniform(0, width), rng.uniform(-0.1 * height, height), rng.random() ** 3
        length = width * (0.008 + 0.05 * near)
        start, end = (int(x * 8), int(y * 8)), (int((x + slant * length) * 8), int((y + length) * 8))
        shade = float(0.1 + 0.25 * rng.random()) * (1 - 0.6 * near)
        cv2.line(streaks, start, end, shade, 1 + int(near * width / 500), cv2.LINE_AA, 3)
    light = cv2.GaussianBlur(cv2.resize(radiance, (width // 8, height // 8), interpolation=cv2.INTER_AREA), (0, 0), 6)
    light = np.minimum(cv2.resize(light, (width, height)), 4.0)
    share = streaks[..., None]
    return radiance * (1 - 0.5 * share) + light * share * 0.8


class LensDrops:
    """Drops that sit on one camera's lens for a whole scene: each shows the street upside down, small and blurred."""

    def __init__(self, name: str, amount: float, width: int, height: int) -> None:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
        self._map, self._alpha = grid.copy(), np.zeros((height, width), np.float32)
        self._shade = np.ones((height, width), np.float32)
        for _ in range(int(rng.poisson(4 + 22 * amount))):
            centre = rng.uniform((0, 0), (width, height))
            radius = width * float(np.exp(rng.normal(np.log(0.008), 0.45)))
            delta = (grid - centre) * (1.0, 1.0 / rng.uniform(1.0, 1.5))
            distance = np.linalg.norm(delta, axis=-1) / radius
            inside = distance < 1.0
            lens = 3.5 * (1.0 + 2.0 * distance[inside, None] ** 2)
            source = centre - (grid[inside] - centre) * lens
            self._map[inside] = np.clip(source, 0, (width - 1, height - 1))
            self._alpha[inside] = np.clip((1.0 - distance[inside]) / 0.25, 0, 0.9)
            self._shade[inside] = 1.05 - 0.45 * distance[inside] ** 4

    def through(self, radiance: np.ndarray) -> np.ndarray:
        """The picture (H, W, 3) as it looks through the drops."""
        soft = cv2.GaussianBlur(radiance, (0, 0), radiance.shape[1] / 180)
        bent = cv2.remap(soft, self._map[..., 0], self._map[..., 1], cv2.INTER_LINEAR) * self._shade[..., None]
        alpha = self._alpha[..., None]
        return (radiance * (1 - alpha) + bent * alpha).astype(np.float32)
