"""Sun, sky and air of a scene: a sky panorama with clouds and a far skyline, colours of direct and diffuse light, haze, exposure."""

from dataclasses import dataclass

import cv2
import numpy as np

from kd_training.synthetic.textures import smooth_noise

SKY_WIDTH, SKY_HEIGHT = 3072, 384


@dataclass(frozen=True, eq=False)
class Light:
    """`to_sun` unit (3,), linear colours (3,) of sun, sky and ground bounce, haze length in m, exposure factor, sensor noise (8-bit levels)."""

    to_sun: np.ndarray
    sun: np.ndarray
    sky: np.ndarray
    bounce: np.ndarray
    haze: np.ndarray
    haze_length: float
    exposure: float
    noise: float
    panorama: np.ndarray  # (H, W, 3) float32 linear; row 0 is the zenith, the last row the horizon

    def sky_colour(self, directions: np.ndarray) -> np.ndarray:
        """Sky radiance (N, 3) along unit directions (N, 3); below the horizon the horizon's."""
        column = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) + 0.5) * SKY_WIDTH
        row = (1.0 - np.sqrt(np.clip(directions[:, 2], 0, 1))) * (SKY_HEIGHT - 1)
        rows = -(-len(column) // 1024)
        pad = rows * 1024 - len(column)
        x, y = (np.pad(v.astype(np.float32), (0, pad)).reshape(rows, 1024) for v in (column, row))
        out = cv2.remap(self.panorama, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        return out.reshape(-1, 3)[: len(column)]


def _skyline(rng: np.random.Generator) -> np.ndarray:
    """Elevation (rad) of the far buildings and trees for every column of the panorama."""
    x = np.arange(SKY_WIDTH)
    trees = 0.012 + 0.006 * np.interp(x, np.linspace(0, SKY_WIDTH, 400), rng.standard_normal(400))
    line = np.maximum(trees, 0.004)
    for _ in range(int(rng.integers(15, 120))):
        at, width, height = rng.integers(SKY_WIDTH), rng.integers(6, 46), rng.uniform(0.015, 0.075)
        line[(x - at) % SKY_WIDTH < width] = np.maximum(line[(x - at) % SKY_WIDTH < width], height)
    return line


def build_light(rng: np.random.Generator) -> Light:
    """A random time of a day with clear, cloudy or overcast sky."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(14, 68))
    to_sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    cover = float(np.clip(rng.choice((rng.uniform(0, 0.35), rng.uniform(0.35, 0.7), rng.uniform(0.8, 1.0)), p=(0.45, 0.3, 0.25)), 0, 1))
    warm = np.clip((0.6 - elevation) / 0.6, 0, 1)
    sun = np.array((1.0, 0.95 - 0.13 * warm, 0.87 - 0.32 * warm)) * 2.4 * np.sqrt(np.sin(elevation)) * (1 - 0.93 * cover**2)
    zenith = (1 - cover) * np.array((0.16, 0.32, 0.68)) + cover * np.array((0.62, 0.65, 0.7)) * rng.uniform(0.7, 1.0)
    horizon = (1 - cover) * np.array((0.62, 0.72, 0.84)) + cover * np.array((0.72, 0.74, 0.77)) * rng.uniform(0.8, 1.0)
    horizon = horizon * (1 + 0.15 * warm * np.array((1, 0, -1)))
    height = np.linspace(1, 0, SKY_HEIGHT)[:, None, None] ** 2  # sine of the elevation
    blend = np.exp(-4.5 * height)
    panorama = (zenith * (1 - blend) + horizon * blend) * np.ones((1, SKY_WIDTH, 1))
    clouds = smooth_noise((SKY_HEIGHT, SKY_WIDTH // 4), 90, 5, rng, 0.55)
    clouds = cv2.resize(clouds, (SKY_WIDTH, SKY_HEIGHT))
    seam = np.clip(np.minimum(np.arange(SKY_WIDTH), SKY_WIDTH - np.arange(SKY_WIDTH)) / 120.0, 0, 1)
    amount = np.clip(0.9 * clouds - 1.2 + 2.6 * cover, 0, 1) * seam[None] * np.clip(np.linspace(1.1, 0.25, SKY_HEIGHT), 0, 1)[:, None]
    white = (0.95 + 0.25 * (1 - cover)) * (0.85 + 0.1 * clouds[..., None])
    panorama = panorama * (1 - 0.85 * amount[..., None]) + 0.85 * amount[..., None] * white * np.array((0.95, 0.97, 1.0))
    column = (np.arange(SKY_WIDTH) / SKY_WIDTH - 0.5) * 2 * np.pi
    cosine = np.cos(np.arcsin(np.sqrt(height[..., 0]) ** 2))[:, :1] * np.cos(elevation) * np.cos(column[None] - azimuth) + height[..., 0] * np.sin(elevation)
    panorama = panorama + ((1 - cover) * (0.5 * np.clip(cosine, 0, 1) ** 16 + 8.0 * np.clip(cosine, 0, 1) ** 1500))[..., None] * np.array((1, 0.93, 0.8))
    line = np.sin(_skyline(rng))
    city = np.clip((line[None] - height[..., 0]) / 0.0015, 0, 1)[..., None]
    tint = np.interp(np.arange(SKY_WIDTH), np.linspace(0, SKY_WIDTH, 90), rng.uniform(0.35, 0.75, 90))[None, :, None]
    panorama = panorama * (1 - city) + city * horizon * tint
    ambient = 0.55 * (zenith + horizon) / 2 + 0.1
    bounce = 0.13 * (ambient + sun * np.sin(elevation))
    level = 0.25 * (sun * np.sin(elevation) * 0.7 + ambient).mean() + 0.1 * horizon.mean()
    exposure = rng.uniform(0.85, 1.25) * 0.42 / level
    return Light(
        to_sun.astype(np.float32), sun.astype(np.float32), ambient.astype(np.float32), bounce.astype(np.float32), horizon.astype(np.float32),
        float(np.exp(rng.uniform(np.log(350), np.log(2500)))), float(exposure), float(rng.uniform(0.8, 3.2)), panorama.astype(np.float32),
    )
