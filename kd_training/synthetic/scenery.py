"""What stands around and is not annotated: buildings, trees, hedges, kerbs, lamps, traffic lights, signs, benches,
bins.
"""

import numpy as np

from kd_training.synthetic.buildings import FACADE_STYLES, build_house
from kd_training.synthetic.mesh import Colour, Material, Mesh, box, ellipsoid, join, quads, tube
from kd_training.synthetic.parts import vary
from kd_training.synthetic.roads import Path, RoadNetwork

STEEL: Colour = (0.22, 0.23, 0.24)
WALLS: tuple[Colour, ...] = (
    (0.5, 0.46, 0.4),
    (0.3, 0.13, 0.09),
    (0.45, 0.45, 0.46),
    (0.55, 0.5, 0.35),
    (0.2, 0.24, 0.28),
)
KERB_GREY: Colour = (0.42, 0.41, 0.39)


def _tree(rng: np.random.Generator) -> Mesh:
    height, green = rng.uniform(4.5, 11), vary((0.045, 0.085, 0.02), rng, 0.35)
    trunk = tube(
        (0, 0, 0),
        (rng.normal(0, 0.15), rng.normal(0, 0.15), height * 0.5),
        (0.16, 0.09),
        (0.07, 0.05, 0.035),
        sides=7,
        caps=False,
    )
    if rng.random() < 0.2:  # conifer
        return join(
            [
                trunk,
                *[
                    tube(
                        (0, 0, z * height),
                        (0, 0, (z + 0.32) * height),
                        (0.24 * height * (1.1 - z), 0.03),
                        green,
                        Material.FOLIAGE,
                        sides=9,
                    )
                    for z in (0.18, 0.4, 0.62)
                ],
            ]
        )
    crown, spread = [], height * rng.uniform(0.17, 0.27)
    for _ in range(int(rng.integers(6, 10))):
        offset = rng.normal(0, 0.55, 3) * (spread, spread, spread * 0.8)
        radius = spread * rng.uniform(0.45, 0.8)
        crown.append(
            ellipsoid(
                offset + (0, 0, height * 0.68),
                (radius, radius, radius * rng.uniform(0.7, 0.95)),
                vary(green, rng, 0.12),
                Material.FOLIAGE,
                sides=9,
                rings=6,
            )
        )
    return join([trunk, *crown])


def _lamp_post(reach: float) -> Mesh:
    return join(
        [
            tube((0, 0, 0), (0, 0, 8.0), (0.11, 0.06), STEEL, Material.METAL, sides=7),
            tube((0, 0, 7.9), (reach, 0, 8.2), 0.05, STEEL, Material.METAL, sides=5),
            box((reach, 0, 8.15), (0.7, 0.25, 0.12), (0.5, 0.5, 0.48)),
        ]
    )


def _traffic_light(reach: float) -> Mesh:
    parts = [
        tube((0, 0, 0), (0, 0, 5.6), (0.1, 0.08), STEEL, Material.METAL, sides=7),
        tube((0, 0, 5.5), (reach, 0, 5.6), 0.06, STEEL, Material.METAL, sides=6),
    ]
    for x, z in ((reach, 5.3), (0.0, 3.0)):
        parts.append(box((x, 0, z), (0.36, 0.3, 0.95), (0.03, 0.03, 0.03)))
        for i, colour in enumerate(((0.05, 0.5, 0.2), (0.12, 0.1, 0.02), (0.1, 0.02, 0.02))):
            parts.append(box((x, 0, z - 0.3 + 0.3 * i), (0.2, 0.34, 0.2), colour, Material.LIGHT))
    return join(parts)


def _sign(rng: np.random.Generator) -> Mesh:
    colour = ((0.02, 0.08, 0.4), (0.5, 0.02, 0.02), (0.7, 0.7, 0.7), (0.7, 0.5, 0.02), (0.02, 0.2, 0.08))[
        rng.integers(5)
    ]
    plate = tube((0.04, 0, 2.5), (0.07, 0, 2.5), 0.36, colour, Material.RETRO, sides=16 if rng.random() < 0.5 else 4)
    return join([tube((0, 0, 0), (0, 0, 2.9), 0.035, STEEL, Material.METAL, sides=6), plate])


def _furniture(rng: np.random.Generator) -> Mesh:
    kind = rng.integers(5)
    if kind == 0:
        return join(
            [
                box((0, 0, 0.45), (0.5, 1.7, 0.06), (0.2, 0.12, 0.06)),
                box((-0.24, 0, 0.75), (0.05, 1.7, 0.4), (0.2, 0.12, 0.06)),
                *[box((0, y, 0.22), (0.4, 0.08, 0.44), STEEL) for y in (-0.7, 0.7)],
            ]
        )
    if kind == 1:
        return tube((0, 0, 0), (0, 0, 1.0), (0.26, 0.3), vary((0.05, 0.15, 0.07), rng), sides=10)
    if kind == 2:
        return join(
            [
                tube((0, 0, 0), (0, 0, 0.7), 0.13, (0.5, 0.04, 0.03), sides=8),
                ellipsoid((0, 0, 0.7), (0.14, 0.14, 0.12), (0.5, 0.04, 0.03)),
                tube((0, -0.22, 0.5), (0, 0.22, 0.5), 0.07, (0.5, 0.04, 0.03), sides=6),
            ]
        )
    if kind == 3:
        return box((0, 0, 0.65), (0.5, 0.9, 1.3), vary((0.15, 0.2, 0.16), rng))
    return tube((0, 0, 0), (0, 0, 0.9), 0.09, (0.12, 0.12, 0.13), sides=8)


def _kerb(path: Path, span: tuple[float, float], d: float, colour: Colour) -> Mesh:
    """A 0.13 m high kerb whose road side lies at offset d, as a strip of quads."""
    s = np.append(np.arange(span[0], span[1], 3.0), span[1])
    inner, outer = path.beside(s, d)[0], path.beside(s, d + 0.18 * np.sign(d))[0]

    def at(xy: np.ndarray, z: float) -> np.ndarray:
        return np.concatenate([xy, np.full((len(xy), 1), z)], 1)

    a, b, c, e = at(inner, 0.0), at(inner, 0.13), at(outer, 0.13), at(outer, 0.0)
    faces = [np.stack([lo[:-1], lo[1:], hi[1:], hi[:-1]], 1) for lo, hi in ((a, b), (b, c), (c, e))]
    return quads(np.concatenate(faces), colour)


class _Site:
    """What has been put beside the roads so far; refuses places that people, vehicles, roads or houses need."""

    def __init__(self, roads: RoadNetwork, taken: np.ndarray, rng: np.random.Generator) -> None:
        self.roads, self._taken, self.rng = roads, taken, rng
        self.urban = rng.random() < 0.55
        self._trees = [_tree(rng) for _ in range(6)]
        self._houses: list[tuple[np.ndarray, float]] = []
        self.parts: list[Mesh] = []

    def free(self, xy: np.ndarray, distance: float) -> bool:
        """Whether no annotated object comes within `distance` of a point (2,)."""
        return bool((((self._taken - xy) ** 2).sum(1) > distance**2).all())

    def add_houses(self, path: Path, begin: float, end: float, half: float, side: int) -> None:
        """A row of buildings along one side of a road of half width `half`."""
        rng, s = self.rng, begin
        while s < end:
            if self.urban:
                length, depth = rng.uniform(12, 32), rng.uniform(9, 16)
                height = float(rng.choice((3, 4, 5, 7, 11), p=(0.25, 0.3, 0.25, 0.12, 0.08))) * 3.2
                setback = rng.uniform(0.3, 3)
            else:
                length, depth = rng.uniform(8, 16), rng.uniform(7, 10)
                height, setback = rng.uniform(3.0, 6.5), rng.uniform(4, 11)
            centre, yaw = path.beside(s + length / 2, side * (half + self.roads.sidewalk + depth / 2 + setback))
            if self._claim(centre, float(yaw), length, depth):
                colour = vary(WALLS[rng.integers(len(WALLS))], rng, 0.25)
                layer = int(rng.integers(FACADE_STYLES))
                gable = not self.urban and rng.random() < 0.8
                self.parts.append(
                    build_house(length, depth, height, layer, colour, gable, rng).moved(*centre, float(yaw))
                )
            s += length + (rng.uniform(0.0, 5) if self.urban else rng.uniform(3, 14))

    def _claim(self, centre: np.ndarray, yaw: float, length: float, depth: float) -> bool:
        """Reserve a rectangle for a house, if it is free of roads, objects and other houses."""
        along, across = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
        steps = [(a, b) for a in np.linspace(-1, 1, 7) for b in np.linspace(-1, 1, 5)]
        grid = np.array([centre + a * length / 2 * along + b * depth / 2 * across for a, b in steps])
        radius = np.hypot(length, depth) / 2
        apart = all(np.linalg.norm(centre - other) > 0.75 * (radius + reach) for other, reach in self._houses)
        clear = (
            apart and self.roads.clearance(grid).min() > self.roads.sidewalk and all(self.free(p, 2.6) for p in grid)
        )
        if clear:
            self._houses.append((centre, radius))
        return clear

    def add_lamps(self, path: Path, begin: float, end: float, half: float, side: int) -> None:
        """Street lamps at the kerb."""
        for s in np.arange(begin + self.rng.uniform(0, 20), end, 27.0):
            xy, yaw = path.beside(s, side * (half + 0.7))
            if self.roads.clearance(xy[None])[0] > 0.4 and self.free(xy, 1.5):
                self.parts.append(_lamp_post(1.8).moved(*xy, float(yaw - side * np.pi / 2)))

    def add_greenery_and_furniture(self, path: Path, begin: float, end: float, half: float, side: int) -> None:
        """Trees, bushes, signs and street furniture on and behind the pavement."""
        rng, sidewalk = self.rng, self.roads.sidewalk
        for s in np.arange(begin, end, 8.0 if self.urban else 6.0):
            roll = rng.random()
            out = half + (sidewalk * 0.25 if roll < 0.3 else sidewalk + rng.uniform(0.6, 4.0))
            xy, yaw = path.beside(s + rng.uniform(-2, 2), side * out)
            indoors = any(np.linalg.norm(xy - other) < reach * 0.8 for other, reach in self._houses)
            if self.roads.clearance(xy[None])[0] < 0.5 or not self.free(xy, 1.6) or indoors:
                continue
            if roll < 0.55:
                scale = rng.uniform(0.75, 1.2)
                tree = self._trees[rng.integers(len(self._trees))].scaled((scale, scale, scale))
                self.parts.append(tree.moved(*xy, rng.uniform(0, 6.28)))
            elif roll < 0.72:
                self.parts.append(_furniture(rng).moved(*xy, float(yaw - side * np.pi / 2)))
            elif roll < 0.8:
                self.parts.append(_sign(rng).moved(*xy, float(yaw + (0 if side > 0 else np.pi))))
            elif roll < 0.92:
                radii = (rng.uniform(0.8, 2.2), 0.6, rng.uniform(0.5, 0.9))
                green = vary((0.05, 0.09, 0.03), rng, 0.3)
                self.parts.append(ellipsoid((0, 0, 0.5), radii, green, Material.FOLIAGE).moved(*xy, float(yaw)))

    def add_kerbs_and_lights(self, low: float, high: float) -> None:
        """Kerbs of all roads, open at the crossings, and the crossings' traffic lights."""
        roads = self.roads
        edges = sorted((c.s - c.half_width - 1.5, c.s + c.half_width + 1.5) for c in roads.crossings)
        stops = [low, *[value for edge in edges for value in edge], high]
        for side in (-1, 1):
            for a, b in zip(stops[::2], stops[1::2], strict=True):
                if b - a > 4:
                    self.parts.append(_kerb(roads.main, (a, b), side * roads.half_width, KERB_GREY))
            for c in roads.crossings:
                gap = roads.half_width + 1.5
                for arm in ((0.0, c.middle - gap), (c.middle + gap, c.path.length)):
                    self.parts.append(_kerb(c.path, arm, side * c.half_width, KERB_GREY))
                xy, yaw = roads.main.beside(c.s + side * (c.half_width + 4.5), side * (roads.half_width + 0.8))
                if self.free(xy, 1.2):
                    light = _traffic_light(min(4.5, roads.half_width * 0.6))
                    self.parts.append(light.moved(*xy, float(yaw - side * np.pi / 2)))


def build_scenery(roads: RoadNetwork, way: np.ndarray, taken: np.ndarray, rng: np.random.Generator) -> Mesh:
    """Everything static around the ego's way (K, 2), clear of the points `taken` (N, 2) where annotated objects are."""
    site = _Site(roads, taken, rng)
    low, high = roads.main.station_of(way[0]) - 110, roads.main.station_of(way[-1]) + 130
    lines = [(roads.main, low, high, roads.half_width)]
    lines += [(c.path, 0.0, c.path.length, c.half_width) for c in roads.crossings if low - 30 < c.s < high + 30]
    for line in lines:
        for side in (-1, 1):
            site.add_houses(*line, side)
            site.add_lamps(*line, side)
            site.add_greenery_and_furniture(*line, side)
    site.add_kerbs_and_lights(low, high)
    return join(site.parts)
