"""Sun, sky and air of a scene: a sky panorama with clouds and a far skyline, colours of direct and diffuse light,
haze, exposure.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from kd_synthetic.assets.textures import remap, smooth_noise

SKY_WIDTH, SKY_HEIGHT = 3072, 384


@dataclass(frozen=True, eq=False)
class Lighting:
    """`to_sun` unit (3,), linear colours (3,) of sun, sky and ground bounce, haze length in m, exposure factor,
    sensor noise (8-bit levels).
    """

    to_sun: np.ndarray
    sun: np.ndarray
    sky: np.ndarray
    bounce: np.ndarray
    haze: np.ndarray
    haze_length: float
    exposure: float
    noise: float
    panorama: np.ndarray  # (H, W, 3) float32 linear; row 0 is the zenith, the last row the horizon
    lamp_scale: float = 0.0  # how bright lamps are; 0 by day, when they are off
    lamp_colour: np.ndarray = field(default_factory=lambda: np.ones(3, np.float32))  # of the street lamps
    wet: bool = False
    rain: float = 0.0  # 0 none to 1 heavy

    def sky_colour(self, directions: np.ndarray) -> np.ndarray:
        """Sky radiance (N, 3) along unit directions (N, 3); below the horizon the horizon's."""
        column = (np.arctan2(directions[:, 1], directions[:, 0]) / (2 * np.pi) + 0.5) * SKY_WIDTH
        row = (1.0 - np.sqrt(np.clip(directions[:, 2], 0, 1))) * (SKY_HEIGHT - 1)
        return remap(self.panorama, column, row, cv2.BORDER_WRAP)


def skyline(rng: np.random.Generator) -> np.ndarray:
    """Elevation (rad) of the far buildings and trees for every column of the panorama."""
    x = np.arange(SKY_WIDTH)
    trees = 0.012 + 0.006 * np.interp(x, np.linspace(0, SKY_WIDTH, 400), rng.standard_normal(400))
    line = np.maximum(trees, 0.004)
    for _ in range(int(rng.integers(15, 120))):
        at, width, height = rng.integers(SKY_WIDTH), rng.integers(6, 46), rng.uniform(0.015, 0.075)
        line[(x - at) % SKY_WIDTH < width] = np.maximum(line[(x - at) % SKY_WIDTH < width], height)
    return line


def _clouded(clear_sky: np.ndarray, cover: float, rng: np.random.Generator) -> np.ndarray:
    """The sky with clouds over a share `cover` of it, thinner towards the horizon."""
    clouds = smooth_noise((SKY_HEIGHT, SKY_WIDTH // 4), 90, 5, rng, 0.55)
    clouds = cv2.resize(clouds, (SKY_WIDTH, SKY_HEIGHT))
    column = np.arange(SKY_WIDTH)
    seam = np.clip(np.minimum(column, SKY_WIDTH - column) / 120.0, 0, 1)
    height = np.clip(np.linspace(1.1, 0.25, SKY_HEIGHT), 0, 1)[:, None]
    amount = (np.clip(0.9 * clouds - 1.2 + 2.6 * cover, 0, 1) * seam[None] * height)[..., None]
    white = (0.95 + 0.25 * (1 - cover)) * (0.85 + 0.1 * clouds[..., None])
    return clear_sky * (1 - 0.85 * amount) + 0.85 * amount * white * np.array((0.95, 0.97, 1.0))


def _sun_glow(sine: np.ndarray, azimuth: float, elevation: float, cover: float) -> np.ndarray:
    """Radiance (H, W, 3) of the sun's disc and the bright sky around it; `sine` (H, 1) of every row's elevation."""
    column = (np.arange(SKY_WIDTH) / SKY_WIDTH - 0.5) * 2 * np.pi
    cosine = np.cos(np.arcsin(sine)) * np.cos(elevation) * np.cos(column[None] - azimuth) + sine * np.sin(elevation)
    near = np.clip(cosine, 0, 1)
    return ((1 - cover) * (0.5 * near**16 + 8.0 * near**1500))[..., None] * np.array((1, 0.93, 0.8))


def _with_skyline(sky: np.ndarray, sine: np.ndarray, horizon: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The sky behind a hazy skyline."""
    line = np.sin(skyline(rng))
    city = np.clip((line[None] - sine) / 0.0015, 0, 1)[..., None]
    tint = np.interp(np.arange(SKY_WIDTH), np.linspace(0, SKY_WIDTH, 90), rng.uniform(0.35, 0.75, 90))[None, :, None]
    return sky * (1 - city) + city * horizon * tint


def build_day(rng: np.random.Generator, *, overcast: bool = False) -> Lighting:
    """A random time of a day with clear, cloudy or overcast sky, or certainly overcast."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(14, 68))
    flat = np.cos(elevation)
    to_sun = np.array([np.cos(azimuth) * flat, np.sin(azimuth) * flat, np.sin(elevation)])
    covers = (rng.uniform(0, 0.35), rng.uniform(0.35, 0.7), rng.uniform(0.8, 1.0))
    cover = 1.0 if overcast else float(np.clip(rng.choice(covers, p=(0.45, 0.3, 0.25)), 0, 1))
    warm = np.clip((0.6 - elevation) / 0.6, 0, 1)
    colour = np.array((1.0, 0.95 - 0.13 * warm, 0.87 - 0.32 * warm))
    sun = colour * 3.0 * np.sqrt(np.sin(elevation)) * (1 - 0.93 * cover**2)
    zenith = (1 - cover) * np.array((0.16, 0.32, 0.68)) + cover * np.array((0.62, 0.65, 0.7)) * rng.uniform(0.7, 1.0)
    horizon = (1 - cover) * np.array((0.62, 0.72, 0.84)) + cover * np.array((0.72, 0.74, 0.77)) * rng.uniform(0.8, 1.0)
    horizon = horizon * (1 + 0.15 * warm * np.array((1, 0, -1)))
    sine = np.linspace(1, 0, SKY_HEIGHT)[:, None] ** 2
    blend = np.exp(-4.5 * sine[..., None])
    panorama = _clouded((zenith * (1 - blend) + horizon * blend) * np.ones((1, SKY_WIDTH, 1)), cover, rng)
    panorama = panorama + _sun_glow(sine, azimuth, elevation, cover)
    panorama = _with_skyline(panorama, sine, horizon, rng)
    ambient = 0.55 * (zenith + horizon) / 2 + 0.1
    bounce = 0.13 * (ambient + sun * np.sin(elevation))
    level = 0.25 * (sun * np.sin(elevation) * 0.7 + ambient).mean() + 0.1 * horizon.mean()
    exposure = rng.uniform(0.85, 1.25) * 0.47 / level
    return Lighting(
        to_sun.astype(np.float32),
        sun.astype(np.float32),
        ambient.astype(np.float32),
        bounce.astype(np.float32),
        horizon.astype(np.float32),
        float(np.exp(rng.uniform(np.log(500), np.log(4000)))),
        float(exposure),
        float(rng.uniform(0.8, 3.2)),
        panorama.astype(np.float32),
    )
