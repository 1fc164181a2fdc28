"""The light of a scene by hour and weather: day, dusk or night, dry or rain."""

from dataclasses import replace

import numpy as np

from kd_synthetic.rendering.light import SKY_HEIGHT, SKY_WIDTH, Lighting, build_day, skyline
from kd_synthetic.streets.conditions import Conditions

LAMP_COLOURS = ((1.0, 0.66, 0.33), (1.0, 0.82, 0.58), (0.9, 0.95, 1.0))  # sodium, warm and cold LED


def build_light(conditions: Conditions, rng: np.random.Generator) -> Lighting:
    """A random light that fits the conditions."""
    rain = conditions.weather == "rain"
    builders = {
        "day": lambda: build_day(rng, overcast=rain),
        "dusk": lambda: _dusk(rng, rain=rain),
        "night": lambda: _night(rng, rain=rain),
    }
    light = builders[conditions.light]()
    if not rain:
        return light
    haze = rng.uniform(140, 420)
    return replace(
        light, wet=True, rain=float(rng.uniform(0.35, 1.0)), haze_length=float(haze), noise=light.noise + 0.8
    )


def _panorama(zenith: np.ndarray, horizon: np.ndarray, falloff: float) -> tuple[np.ndarray, np.ndarray]:
    """A sky (H, W, 3) from zenith (3,) to horizon (W or 1, 3), and every row's sine of elevation (H, 1)."""
    sine = np.linspace(1, 0, SKY_HEIGHT)[:, None] ** 2
    blend = np.exp(-falloff * sine[..., None])
    return (zenith * (1 - blend) + horizon[None] * blend) * np.ones((1, SKY_WIDTH, 1)), sine


def _dusk(rng: np.random.Generator, *, rain: bool) -> Lighting:
    """The sun a few degrees above the horizon or just gone, lamps lit."""
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(1.0, 5.0))
    to_sun = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    clear = 0.0 if rain else float(rng.uniform(0.3, 1.0))
    column = (np.arange(SKY_WIDTH) / SKY_WIDTH - 0.5) * 2 * np.pi
    near = (0.5 + 0.5 * np.cos(column - azimuth))[:, None] ** 3
    far_side, sun_side = np.array((0.2, 0.19, 0.27)), np.array((0.95, 0.42, 0.16))
    horizon = far_side * (1 - near * clear) + sun_side * near * clear
    zenith = np.array((0.06, 0.09, 0.2)) * clear + np.array((0.1, 0.11, 0.15)) * (1 - clear)
    panorama, sine = _panorama(zenith, horizon, 5.0)
    angle = np.cos(np.arcsin(sine)) * np.cos(elevation) * np.cos(column[None] - azimuth) + sine * np.sin(elevation)
    glow = clear * (0.35 * np.clip(angle, 0, 1) ** 12 + 5.0 * np.clip(angle, 0, 1) ** 1800)
    panorama = panorama + glow[..., None] * np.array((1.0, 0.6, 0.3))
    panorama = _city_line(panorama, sine, np.array((0.11, 0.1, 0.13)), rng, windows=0.3)
    sun = np.array((1.0, 0.48, 0.2)) * 0.75 * clear
    ambient = 0.5 * zenith + 0.35 * horizon.mean(0) + 0.02
    level = 0.25 * ambient.mean() + 0.1 * horizon.mean() + 0.1 * sun.mean()
    return Lighting(
        to_sun=to_sun.astype(np.float32),
        sun=sun.astype(np.float32),
        sky=ambient.astype(np.float32),
        bounce=(0.13 * ambient).astype(np.float32),
        haze=horizon.mean(0).astype(np.float32),
        haze_length=float(rng.uniform(700, 3000)),
        exposure=float(rng.uniform(0.85, 1.1) * 0.25 / level),
        noise=float(rng.uniform(2.0, 4.0)),
        panorama=panorama.astype(np.float32),
        lamp_scale=0.16,
        lamp_colour=np.array(LAMP_COLOURS[rng.integers(3)], np.float32),
    )


def _night(rng: np.random.Generator, *, rain: bool) -> Lighting:
    """No sun: a sky that the city lights from below, and lamps."""
    cloud = 1.0 if rain else float(rng.uniform(0.0, 1.0))
    tint = np.array((1.0, 0.72, 0.5)) * cloud + np.array((0.5, 0.6, 1.0)) * (1 - cloud)
    zenith, horizon = 0.0035 * tint * (1 + cloud), np.array([0.022, 0.017, 0.013]) * (1 + cloud)
    panorama, sine = _panorama(zenith, horizon[None], 3.5)
    panorama = _city_line(panorama, sine, np.array((0.006, 0.006, 0.007)), rng, windows=1.0)
    ambient = 0.006 * (1 + 0.8 * cloud) * (0.5 + 0.5 * tint)
    return Lighting(
        to_sun=np.array((0, 0, 1), np.float32),
        sun=np.zeros(3, np.float32),
        sky=ambient.astype(np.float32),
        bounce=(0.6 * ambient).astype(np.float32),
        haze=(0.5 * horizon).astype(np.float32),
        haze_length=float(rng.uniform(700, 3000)),
        exposure=float(rng.uniform(0.7, 1.15)),
        noise=float(rng.uniform(4.0, 7.5)),
        panorama=panorama.astype(np.float32),
        lamp_scale=1.0,
        lamp_colour=np.array(LAMP_COLOURS[rng.integers(3)], np.float32) * float(rng.uniform(0.6, 1.2)),
    )


def _city_line(
    sky: np.ndarray, sine: np.ndarray, dark: np.ndarray, rng: np.random.Generator, windows: float
) -> np.ndarray:
    """The sky behind a dark skyline with lit windows of brightness `windows`."""
    line = np.sin(skyline(rng))
    city = np.clip((line[None] - sine) / 0.0015, 0, 1)
    sky = sky * (1 - city[..., None]) + city[..., None] * dark
    lit = (rng.random(city.shape) < 0.06) & (city > 0.99) & (sine < 0.8 * line[None])
    sky[lit] += windows * 0.16 * np.array((1.0, 0.7, 0.4)) * rng.random((int(lit.sum()), 1))
    return sky
