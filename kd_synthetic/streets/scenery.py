"""What stands around and is not annotated: buildings, trees, hedges, kerbs, lamps, traffic lights, signs, benches,
bins.
"""

from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.box_geometry import Rectangles, rectangles_overlap
from kd_synthetic.assets.buildings import FACADE_STYLES, build_house
from kd_synthetic.assets.furniture import (
    LAMP_HEIGHT,
    LAMP_REACH,
    furniture,
    lamp_post,
    palm,
    sign,
    traffic_light,
    tree,
)
from kd_synthetic.assets.mesh import Colour, Material, Mesh, ellipsoid, join, quads
from kd_synthetic.assets.parts import vary
from kd_synthetic.streets.cities import CITY_A, City
from kd_synthetic.streets.roads import DrivePath, RoadNetwork

KERB_GREY: Colour = (0.42, 0.41, 0.39)


def _kerb(path: DrivePath, span: tuple[float, float], d: float, colour: Colour) -> Mesh:
    """A 0.13 m high kerb whose road side lies at offset d, as a strip of quads."""
    s = np.append(np.arange(span[0], span[1], 3.0), span[1])
    inner, outer = path.pose_at(s, d)[0], path.pose_at(s, d + 0.18 * np.sign(d))[0]

    def at(xy: np.ndarray, z: float) -> np.ndarray:
        return np.concatenate([xy, np.full((len(xy), 1), z)], 1)

    a, b, c, e = at(inner, 0.0), at(inner, 0.13), at(outer, 0.13), at(outer, 0.0)
    faces = [np.stack([lo[:-1], lo[1:], hi[1:], hi[:-1]], 1) for lo, hi in ((a, b), (b, c), (c, e))]
    return quads(np.concatenate(faces), colour)


class Site:
    """What stands next to the roads so far; refuses places that people, vehicles, roads or houses need."""

    def __init__(self, roads: RoadNetwork, taken: np.ndarray, rng: np.random.Generator, city: City) -> None:
        self.roads, self._taken, self.rng, self._city = roads, taken, rng, city
        self.urban = rng.random() < city.urban
        self._trees = [(palm if city.palms and i % 3 else tree)(rng) for i in range(6)]
        self.lamps: list[tuple[float, float, float]] = []
        self._houses: list[tuple[np.ndarray, float]] = []
        self._walls: list[Rectangles] = []
        self.parts: list[Mesh] = []

    def free(self, xy: np.ndarray, distance: float) -> bool:
        """Whether no annotated object comes within `distance` of a point (2,)."""
        return bool((((self._taken - xy) ** 2).sum(1) > distance**2).all())

    def add_houses(self, path: DrivePath, begin: float, end: float, half: float, side: int) -> None:
        """A row of buildings along one side of a road of half width `half`."""
        rng, s = self.rng, begin
        storeys, shares = zip(*self._city.storeys, strict=True)
        while s < end:
            if self.urban:
                length, depth = rng.uniform(12, 32), rng.uniform(9, 16)
                height = float(rng.choice(storeys, p=shares)) * 3.2
                setback = rng.uniform(*self._city.setback)
            else:
                length, depth = rng.uniform(8, 16), rng.uniform(7, 10)
                height, setback = rng.uniform(3.0, 6.5), rng.uniform(4, 11)
            centre, yaw = path.pose_at(s + length / 2, side * (half + self.roads.sidewalk + depth / 2 + setback))
            if self._claim(centre, float(yaw), length, depth):
                colour = vary(self._city.walls[rng.integers(len(self._city.walls))], rng, 0.25)
                layer = int(rng.integers(FACADE_STYLES))
                gable = not self.urban and rng.random() < 0.8
                house = build_house((length, depth, height), rng, layer=layer, colour=colour, gable=gable)
                self.parts.append(house.moved(*centre, float(yaw)))
            s += length + (rng.uniform(0.0, self._city.gap) if self.urban else rng.uniform(3, 14))

    def _claim(self, centre: np.ndarray, yaw: float, length: float, depth: float) -> bool:
        """Reserve a rectangle for a house, if it is free of roads, objects and other houses."""
        along, across = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
        steps = [(a, b) for a in np.linspace(-1, 1, 7) for b in np.linspace(-1, 1, 5)]
        grid = np.array([centre + a * length / 2 * along + b * depth / 2 * across for a, b in steps])
        radius = np.hypot(length, depth) / 2
        walls = Rectangles(centre, np.array((length, depth)), np.array(yaw))
        if self._city.rows > 1:
            apart = not any(rectangles_overlap(walls, other, 0.05) for other in self._walls)
        else:
            apart = all(np.linalg.norm(centre - other) > 0.75 * (radius + reach) for other, reach in self._houses)
        clear = (
            apart and self.roads.clearance(grid).min() > self.roads.sidewalk and all(self.free(p, 2.6) for p in grid)
        )
        if clear:
            self._houses.append((centre, radius))
            self._walls.append(walls)
        return clear

    def add_lamps(self, path: DrivePath, begin: float, end: float, half: float, side: int) -> None:
        """Street lamps at the kerb."""
        for s in np.arange(begin + self.rng.uniform(0, 20), end, self._city.lamp_spacing):
            xy, yaw = path.pose_at(s, side * (half + 0.7))
            if self.roads.clearance(xy[None])[0] > 0.4 and self.free(xy, 1.5):
                turn = float(yaw - side * np.pi / 2)
                self.parts.append(lamp_post(LAMP_REACH).moved(*xy, turn))
                self.lamps.append((*(xy + LAMP_REACH * np.array((np.cos(turn), np.sin(turn)))), LAMP_HEIGHT))

    def add_greenery_and_furniture(self, path: DrivePath, begin: float, end: float, half: float, side: int) -> None:
        """Trees, bushes, signs and street furniture on and behind the pavement."""
        rng, sidewalk = self.rng, self.roads.sidewalk
        for s in np.arange(begin, end, 8.0 if self.urban else 6.0):
            roll = rng.random()
            out = half + (sidewalk * 0.25 if roll < 0.3 else sidewalk + rng.uniform(0.6, 4.0))
            xy, yaw = path.pose_at(s + rng.uniform(-2, 2), side * out)
            indoors = any(np.linalg.norm(xy - other) < reach * 0.8 for other, reach in self._houses)
            if self.roads.clearance(xy[None])[0] < 0.5 or not self.free(xy, 1.6) or indoors:
                continue
            if roll < 0.55:
                scale = rng.uniform(0.75, 1.2)
                tree = self._trees[rng.integers(len(self._trees))].scaled((scale, scale, scale))
                self.parts.append(tree.moved(*xy, rng.uniform(0, 6.28)))
            elif roll < 0.72:
                self.parts.append(furniture(rng).moved(*xy, float(yaw - side * np.pi / 2)))
            elif roll < 0.8:
                self.parts.append(sign(rng).moved(*xy, float(yaw + (np.pi if side == self.roads.keep else 0))))
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
                beside = -roads.keep * side  # where who comes to this end of the crossing looks for it
                xy, yaw = roads.main.pose_at(c.s + side * (c.half_width + 4.5), beside * (roads.half_width + 0.8))
                if self.free(xy, 1.2):
                    light = traffic_light(min(4.5, roads.half_width * 0.6))
                    self.parts.append(light.moved(*xy, float(yaw - beside * np.pi / 2)))


@dataclass(frozen=True, eq=False)
class Scenery:
    """What stands around, and where street lamps hang (L, 3)."""

    mesh: Mesh
    lamps: np.ndarray


def build_scenery(
    roads: RoadNetwork, way: np.ndarray, taken: np.ndarray, rng: np.random.Generator, city: City = CITY_A
) -> Scenery:
    """Everything static around the ego's way (K, 2), clear of the points `taken` (N, 2) where annotated objects are."""
    site = Site(roads, taken, rng, city)
    low, high = roads.main.station_of(way[0]) - 110, roads.main.station_of(way[-1]) + 130
    lines = [(roads.main, low, high, roads.half_width)]
    lines += [(c.path, 0.0, c.path.length, c.half_width) for c in roads.crossings if low - 30 < c.s < high + 30]
    for line in lines:
        for side in (-1, 1):
            for row in range(city.rows):
                site.add_houses(line[0], line[1], line[2], line[3] + 19.0 * row, side)
            site.add_lamps(*line, side)
            site.add_greenery_and_furniture(*line, side)
    site.add_kerbs_and_lights(low, high)
    return Scenery(join(site.parts), np.array(site.lamps).reshape(-1, 3))
