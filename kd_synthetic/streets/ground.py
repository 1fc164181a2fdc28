"""The ground of a scene as one painted picture seen from above: asphalt, markings, crossings, pavements, grass,
stains and patches.

Cameras look it up through a mip pyramid, so that lines stay smooth near by and calm far away. The world is flat;
kerbs are meshes.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kd_synthetic.assets.mesh import Colour
from kd_synthetic.assets.textures import MipPyramid, smooth_noise
from kd_synthetic.streets.cities import CITY_A, City
from kd_synthetic.streets.roads import DrivePath, RoadNetwork

TEXEL = 0.07  # metres
MARGIN = 75.0  # metres painted around the ego's way
DASH_WIDTH = 0.13  # metres
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


@dataclass(frozen=True, eq=False)
class GroundMap:
    """Reflectance seen from above: `origin` (2,) is the world position of the picture's corner, metres."""

    origin: np.ndarray
    pyramid: MipPyramid
    detail: np.ndarray  # (H, W) multiplier around 1, repeats every `detail_size` metres
    far_colour: np.ndarray
    detail_size: float = 9.0


class Painter:
    """Paints on a picture of the ground, whose lower corner is `low` (2,) in the world, in linear colours."""

    def __init__(self, low: np.ndarray, base: np.ndarray) -> None:
        self.origin = low
        self.image = base

    def pixels(self, xy: np.ndarray) -> np.ndarray:
        """OpenCV's drawing coordinates (N, 2) of world points (N, 2)."""
        return np.round((xy - self.origin) / TEXEL * (1 << SHIFT)).astype(np.int32)

    def polygon(self, xy: np.ndarray, colour: Colour) -> None:
        """Fill a polygon (N, 2)."""
        cv2.fillPoly(self.image, [self.pixels(xy)], gamma_bytes(colour), cv2.LINE_AA, SHIFT)

    def band(self, path: DrivePath, span: tuple[float, float], d: tuple[float, float], colour: Colour) -> None:
        """The strip between two offsets of a path over a span of stations, in short pieces."""
        s = np.append(np.arange(span[0], span[1], 1.0), span[1])
        for begin in range(0, len(s) - 1, 20):
            piece = s[begin : begin + 21]
            left, right = path.pose_at(piece, d[0])[0], path.pose_at(piece, d[1])[0]
            self.polygon(np.concatenate([left, right[::-1]]), colour)

    def dashes(
        self, path: DrivePath, span: tuple[float, float], d: float, colour: Colour, pattern: tuple[float, float]
    ) -> None:
        """A broken line along an offset of a path; `pattern` is the length of a dash and of a gap in metres."""
        length, gap = pattern
        for s in np.arange(span[0], span[1] - length, length + gap):
            self.band(path, (s, s + length), (d - DASH_WIDTH / 2, d + DASH_WIDTH / 2), colour)


def gamma_bytes(colour: Colour | np.ndarray) -> tuple[int, ...]:
    """A linear colour as pictures store it: gamma-coded, 0 to 255."""
    return tuple(int(round(float(value) ** (1 / 2.2) * 255)) for value in colour)


def _gaps(spans: list[tuple[float, float]], whole: tuple[float, float]) -> list[tuple[float, float]]:
    """`whole` less the spans."""
    result, at = [], whole[0]
    for low, high in sorted(spans):
        if low > at:
            result.append((at, min(low, whole[1])))
        at = max(at, high)
    if at < whole[1]:
        result.append((at, whole[1]))
    return result


def surface(shape: tuple[int, int], rng: np.random.Generator, *, green: bool) -> np.ndarray:
    """The ground next to the roads: grass, or paved with patches."""
    low = (shape[0] // 8 + 1, shape[1] // 8 + 1)
    large, small = smooth_noise(low, 60, 3, rng), smooth_noise(low, 8, 2, rng)
    if green:
        first, second = np.array((0.06, 0.09, 0.025)), np.array((0.15, 0.13, 0.06))
    else:
        first, second = np.array((0.22, 0.21, 0.19)), np.array((0.13, 0.125, 0.11))
    mix = (1 / (1 + np.exp(-1.6 * large)))[..., None]
    colour = (first * (1 - mix) + second * mix) * np.exp(0.12 * small)[..., None] * np.exp(0.1 * rng.standard_normal(3))
    coded = (np.clip(colour, 0, 1) ** (1 / 2.2) * 255).astype(np.uint8)
    return np.ascontiguousarray(cv2.resize(coded, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR))


def _markings(paint: Painter, roads: RoadNetwork, white: Colour, yellow: Colour, *, yellow_centre: bool) -> None:
    main, half, lane = roads.main, roads.half_width, roads.lane_width
    for span in _gaps(
        [(c.s - c.half_width - 6.0, c.s + c.half_width + 6.0) for c in roads.crossings], (0.0, main.length)
    ):
        if yellow_centre:
            for d in (-0.14, 0.14):
                paint.band(main, span, (d - 0.06, d + 0.06), yellow)
        else:
            paint.dashes(main, span, 0.0, white, (2.0, 4.0))
        for index in range(1, roads.lanes):
            for side in (-1, 1):
                paint.dashes(main, span, side * index * lane, white, (3.0, 6.0))
        if roads.parking:
            for side in (-1, 1):
                d = side * roads.lanes * lane
                paint.band(main, span, (d - 0.06, d + 0.06), white)
                for s in np.arange(span[0] + 4, span[1] - 4, 6.0):
                    paint.band(main, (s, s + 0.12), (d, side * half), white)
    for c in roads.crossings:
        for side in (-1, 1):
            station = c.s + side * (c.half_width + 2.5)
            for d in np.arange(-half + 0.5, half - 0.4, 1.0):
                paint.band(main, (station - 1.5, station + 1.5), (d, d + 0.5), white)
            stop = c.s + side * (c.half_width + 5.4)
            paint.band(
                main,
                (stop - 0.2, stop + 0.2),
                ((0.3, half - roads.parking) if side != roads.keep else (-half + roads.parking, -0.3)),
                white,
            )
            station = c.middle + side * (half + 2.5)
            for d in np.arange(-c.half_width + 0.4, c.half_width - 0.4, 1.0):
                paint.band(c.path, (station - 1.5, station + 1.5), (d, d + 0.5), white)
            stop = c.middle + side * (half + 5.4)
            paint.band(
                c.path,
                (stop - 0.2, stop + 0.2),
                ((0.2, c.half_width) if side != roads.keep else (-c.half_width, -0.2)),
                white,
            )
            arm = (c.middle + half + 6, c.path.length) if side > 0 else (0.0, c.middle - half - 6)
            paint.dashes(c.path, arm, 0.0, yellow if yellow_centre else white, (3.0, 3.0))


def _wear(
    paint: Painter, roads: RoadNetwork, asphalt: np.ndarray, span: tuple[float, float], rng: np.random.Generator
) -> None:
    """Repairs, cracks, manholes and oil stains."""
    half = roads.half_width
    for _ in range(30):
        s, d = rng.uniform(*span), rng.uniform(-half, half - 1)
        length, width = rng.uniform(0.8, 9), rng.uniform(0.5, 2.4)
        paint.band(roads.main, (s, s + length), (d, d + width), asphalt * rng.uniform(0.65, 1.3))
    for _ in range(50):
        s, d = rng.uniform(*span), rng.uniform(-half, half)
        crack = roads.main.pose_at(s + np.cumsum(rng.uniform(0.1, 0.7, 12)), d + np.cumsum(rng.normal(0, 0.25, 12)))[0]
        cv2.polylines(
            paint.image, [paint.pixels(crack)], isClosed=False, color=gamma_bytes(asphalt * 0.5), lineType=cv2.LINE_AA,
            shift=SHIFT,
        )  # fmt: skip
    for _ in range(14):
        centre = roads.main.pose_at(rng.uniform(*span), rng.uniform(-half, half))[0]
        circle = centre + 0.36 * np.stack([np.cos(np.arange(14) * 0.449), np.sin(np.arange(14) * 0.449)], -1)
        paint.polygon(circle, asphalt * 0.45)


def paint_ground(roads: RoadNetwork, way: np.ndarray, rng: np.random.Generator, city: City = CITY_A) -> GroundMap:
    """The ground around the ego's way (K, 2)."""
    low, high = way.min(0) - MARGIN, way.max(0) + MARGIN
    shape = tuple(int(value) for value in np.ceil((high - low)[::-1] / TEXEL))
    green = rng.random() < city.grass
    paint = Painter(low, surface(shape, rng, green=green))
    asphalt = np.array(city.asphalt_tint) * rng.uniform(*city.asphalt)
    pavement = np.array(city.pavement_tint) * rng.uniform(0.2, 0.38)
    kerb = pavement * 1.25
    centre = roads.main.station_of(way[len(way) // 2])
    reach = np.linalg.norm(high - low) / 2 + 20
    span = (max(0.0, centre - reach), min(roads.main.length, centre + reach))
    strips = [(roads.main, span, roads.half_width)] + [
        (c.path, (0.0, c.path.length), c.half_width) for c in roads.crossings
    ]
    for path, along, half in strips:
        paint.band(path, along, (-half - roads.sidewalk, half + roads.sidewalk), pavement)
    for path, along, half in strips:
        for s in np.arange(along[0], along[1], 2.0):  # slab joints
            paint.band(path, (s, s + 0.05), (-half - roads.sidewalk, half + roads.sidewalk), pavement * 0.72)
    for path, along, half in strips:
        paint.band(path, along, (-half - 0.2, half + 0.2), kerb)
    for path, along, half in strips:
        paint.band(path, along, (-half, half), asphalt)
    _wear(paint, roads, asphalt, span, rng)
    fade = rng.uniform(0.75, 1.0)
    white, yellow = (0.62 * fade, 0.62 * fade, 0.6 * fade), (0.55 * fade, 0.36 * fade, 0.05)
    _markings(paint, roads, white, yellow, yellow_centre=city.yellow_centre)
    return weathered_map(paint.image, low, rng)


def weathered_map(image: np.ndarray, origin: np.ndarray, rng: np.random.Generator) -> GroundMap:
    """The map of a painted picture (H, W, 3), which gets grime, whose corner lies at `origin` (2,)."""
    shape = image.shape
    grime = smooth_noise((shape[0] // 6 + 1, shape[1] // 6 + 1), 40, 4, rng)
    factor = cv2.resize(np.clip(1.0 + 0.045 * grime, 0.8, 1.15).astype(np.float32), (shape[1], shape[0]))
    for channel in range(3):
        image[..., channel] = np.minimum(image[..., channel] * factor, 255)
    far = (cv2.resize(image, (1, 1), interpolation=cv2.INTER_AREA)[0, 0] / 255.0) ** 2.2
    detail = (
        1.0
        + 0.055 * smooth_noise((512, 512), 24, 4, rng, 0.8)
        + 0.03 * rng.standard_normal((512, 512), dtype=np.float32)
    )
    return GroundMap(
        origin, MipPyramid.of(image, TEXEL, 7), np.clip(detail, 0.7, 1.3).astype(np.float32), far.astype(np.float32)
    )
