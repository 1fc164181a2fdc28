"""What stands around and is not annotated: buildings, trees, hedges, kerbs, lamps, traffic lights, signs, benches, bins."""

import cv2
import numpy as np

from kd_training.synthetic.mesh import Colour, Material, Mesh, box, ellipsoid, from_triangles, join, quads, textured_quads, tube
from kd_training.synthetic.parts import bright, vary
from kd_training.synthetic.roads import Path, RoadNetwork

FACADE_STYLES = 10
FACADE_PIXELS = 256
FACADE_METRES = (14.0, 12.8)  # width and height of one repeat: 4 x 4 windows
STEEL: Colour = (0.22, 0.23, 0.24)


def facade_atlas(rng: np.random.Generator) -> np.ndarray:
    """Wall textures (styles, 256, 256, 4) uint8: gamma-coded reflectance relative to the wall's paint, and a fourth channel that is 255 on glass."""
    styles = []
    for style in range(FACADE_STYLES):
        image = np.zeros((FACADE_PIXELS, FACADE_PIXELS, 4), np.uint8)
        image[..., :3] = 215
        if style % 3 == 0:  # brick courses or panels
            for y in range(0, FACADE_PIXELS, 8 if style % 2 else 32):
                cv2.line(image, (0, y), (FACADE_PIXELS, y), (180, 178, 176, 0), 1)
        cell = FACADE_PIXELS // 4
        if style == FACADE_STYLES - 1:  # blind wall with a few doors' worth of panels
            for x in range(0, FACADE_PIXELS, 21):
                cv2.line(image, (x, 0), (x, FACADE_PIXELS), (190, 190, 190, 0), 1)
            styles.append(image)
            continue
        wide, tall = rng.uniform(0.35, 0.85), rng.uniform(0.42, 0.8)
        frame = int(rng.integers(60, 250))
        for row in range(4):
            for column in range(4):
                x0, y0 = int((column + (1 - wide) / 2) * cell), int((row + (1 - tall) / 2) * cell)
                x1, y1 = int(x0 + wide * cell), int(y0 + tall * cell)
                cv2.rectangle(image, (x0 - 3, y0 - 3), (x1 + 3, y1 + 4), (frame, frame, frame, 0), -1)
                shade = int(rng.choice((40, 60, 85, 150), p=(0.45, 0.25, 0.2, 0.1)))
                cv2.rectangle(image, (x0, y0), (x1, y1), (shade, shade, int(shade * 0.95), 255 if shade < 100 else 80), -1)
                if rng.random() < 0.3:
                    cv2.rectangle(image, (x0, y0), (x1, y0 + int(rng.uniform(0.2, 0.7) * (y1 - y0))), (170, 165, 150, 30), -1)
                if style % 2:
                    cv2.line(image, ((x0 + x1) // 2, y0), ((x0 + x1) // 2, y1), (frame, frame, frame, 0), 2)
        if style in (2, 5):  # balconies
            for row in range(4):
                cv2.rectangle(image, (4, (row + 1) * cell - 14), (FACADE_PIXELS - 4, (row + 1) * cell - 4), (150, 150, 150, 0), -1)
        styles.append(image)
    return np.stack(styles)


def _house(length: float, depth: float, height: float, layer: int, colour: Colour, gable: bool, rng: np.random.Generator) -> Mesh:
    """A building with facades, a ground floor band, and a flat or gabled roof."""
    x, y = length / 2, depth / 2
    corners = np.array([(-x, -y), (x, -y), (x, y), (-x, y)])
    walls, uv = [], []
    shift = rng.integers(4, size=2) / 4
    for i in range(4):
        a, b = corners[i], corners[(i + 1) % 4]
        run = np.linalg.norm(b - a)
        walls.append([(*a, 0), (*b, 0), (*b, height), (*a, height)])
        u1, v1 = max(1, round(run / FACADE_METRES[0] * 4)) / 4, max(1, round(height / FACADE_METRES[1] * 4)) / 4
        uv.append([(shift[0], shift[1] + v1), (shift[0] + u1, shift[1] + v1), (shift[0] + u1, shift[1]), (shift[0], shift[1])])
    parts = [textured_quads(np.array(walls), np.array(uv), colour, layer)]
    if gable:
        ridge, eave, over = height + 0.35 * depth, height - 0.1, 0.4
        a, b, c, d = (-x - over, -y - over, eave), (x + over, -y - over, eave), (x + over, y + over, eave), (-x - over, y + over, eave)
        e, f = (-x - over, 0, ridge), (x + over, 0, ridge)
        tile = vary((0.2, 0.08, 0.05) if rng.random() < 0.5 else (0.1, 0.1, 0.11), rng)
        parts.append(quads(np.array([[a, b, f, e], [c, d, e, f]]), tile))
        parts.append(from_triangles(np.array([[(-x, -y, height), (-x, y, height), (-x, 0, ridge - 0.1)], [(x, -y, height), (x, y, height), (x, 0, ridge - 0.1)]]), colour))
        parts.append(box((x * 0.4, y * 0.3, ridge - 0.3), (0.8, 0.8, 1.6), (0.2, 0.1, 0.08)))
    else:
        parts.append(box((0, 0, height + 0.15), (length + 0.5, depth + 0.5, 0.5), vary(colour, rng)))
        parts.append(box((rng.uniform(-0.2, 0.2) * length, 0, height + 1.2), (3.0, 3.0, 2.0), (0.3, 0.3, 0.3)))
        shop = bright(rng)
        parts.append(box((0, 0, 3.3), (length + 0.3, depth + 0.3, 0.5), shop))
        parts.append(box((0, 0, 0.35), (length + 0.12, depth + 0.12, 0.7), vary(tuple(np.array(colour) * 0.5), rng)))
    return join(parts)


def _tree(rng: np.random.Generator) -> Mesh:
    height, green = rng.uniform(4.5, 11), vary((0.045, 0.085, 0.02), rng, 0.35)
    trunk = tube((0, 0, 0), (rng.normal(0, 0.15), rng.normal(0, 0.15), height * 0.5), (0.16, 0.09), (0.07, 0.05, 0.035), sides=7, caps=False)
    if rng.random() < 0.2:  # conifer
        return join([trunk, *[tube((0, 0, z * height), (0, 0, (z + 0.32) * height), (0.24 * height * (1.1 - z), 0.03), green, Material.FOLIAGE, sides=9) for z in (0.18, 0.4, 0.62)]])
    crown, spread = [], height * rng.uniform(0.17, 0.27)
    for _ in range(int(rng.integers(6, 10))):
        offset = rng.normal(0, 0.55, 3) * (spread, spread, spread * 0.8)
        radius = spread * rng.uniform(0.45, 0.8)
        crown.append(ellipsoid(offset + (0, 0, height * 0.68), (radius, radius, radius * rng.uniform(0.7, 0.95)), vary(green, rng, 0.12), Material.FOLIAGE, sides=9, rings=6))
    return join([trunk, *crown])


def _lamp_post(reach: float) -> Mesh:
    return join([tube((0, 0, 0), (0, 0, 8.0), (0.11, 0.06), STEEL, Material.METAL, sides=7), tube((0, 0, 7.9), (reach, 0, 8.2), 0.05, STEEL, Material.METAL, sides=5),
                 box((reach, 0, 8.15), (0.7, 0.25, 0.12), (0.5, 0.5, 0.48))])


def _traffic_light(reach: float) -> Mesh:
    parts = [tube((0, 0, 0), (0, 0, 5.6), (0.1, 0.08), STEEL, Material.METAL, sides=7), tube((0, 0, 5.5), (reach, 0, 5.6), 0.06, STEEL, Material.METAL, sides=6)]
    for x, z in ((reach, 5.3), (0.0, 3.0)):
        parts.append(box((x, 0, z), (0.36, 0.3, 0.95), (0.03, 0.03, 0.03)))
        for i, colour in enumerate(((0.05, 0.5, 0.2), (0.12, 0.1, 0.02), (0.1, 0.02, 0.02))):
            parts.append(box((x, 0, z - 0.3 + 0.3 * i), (0.2, 0.34, 0.2), colour, Material.LIGHT))
    return join(parts)


def _sign(rng: np.random.Generator) -> Mesh:
    colour = ((0.02, 0.08, 0.4), (0.5, 0.02, 0.02), (0.7, 0.7, 0.7), (0.7, 0.5, 0.02), (0.02, 0.2, 0.08))[rng.integers(5)]
    plate = tube((0.04, 0, 2.5), (0.07, 0, 2.5), 0.36, colour, Material.RETRO, sides=16 if rng.random() < 0.5 else 4)
    return join([tube((0, 0, 0), (0, 0, 2.9), 0.035, STEEL, Material.METAL, sides=6), plate])


def _furniture(rng: np.random.Generator) -> Mesh:
    kind = rng.integers(5)
    if kind == 0:
        return join([box((0, 0, 0.45), (0.5, 1.7, 0.06), (0.2, 0.12, 0.06)), box((-0.24, 0, 0.75), (0.05, 1.7, 0.4), (0.2, 0.12, 0.06)), *[box((0, y, 0.22), (0.4, 0.08, 0.44), STEEL) for y in (-0.7, 0.7)]])
    if kind == 1:
        return tube((0, 0, 0), (0, 0, 1.0), (0.26, 0.3), vary((0.05, 0.15, 0.07), rng), sides=10)
    if kind == 2:
        return join([tube((0, 0, 0), (0, 0, 0.7), 0.13, (0.5, 0.04, 0.03), sides=8), ellipsoid((0, 0, 0.7), (0.14, 0.14, 0.12), (0.5, 0.04, 0.03)), tube((0, -0.22, 0.5), (0, 0.22, 0.5), 0.07, (0.5, 0.04, 0.03), sides=6)])
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


def build_scenery(roads: RoadNetwork, way: np.ndarray, taken: np.ndarray, rng: np.random.Generator) -> Mesh:
    """Everything static around the ego's way (K, 2); nothing is put within 1.5 m of the points `taken` (N, 2)."""
    parts: list[Mesh] = []
    low, high = roads.main.station_of(way[0]) - 110, roads.main.station_of(way[-1]) + 130
    urban = rng.random() < 0.55
    trees = [_tree(rng) for _ in range(6)]
    footprints: list[tuple[np.ndarray, float]] = []

    def free(xy: np.ndarray, distance: float) -> bool:
        return bool((((taken - xy) ** 2).sum(1) > distance**2).all())

    lines = [(roads.main, (low, high), roads.half_width)]
    lines += [(c.path, (0.0, c.path.length), c.half_width) for c in roads.crossings if low - 30 < c.s < high + 30]
    for path, (begin, end), half in lines:
        for side in (-1, 1):
            s = begin
            while s < end:
                length, depth = (rng.uniform(12, 32), rng.uniform(9, 16)) if urban else (rng.uniform(8, 16), rng.uniform(7, 10))
                height = float(rng.choice((3, 4, 5, 7, 11), p=(0.25, 0.3, 0.25, 0.12, 0.08))) * 3.2 if urban else rng.uniform(3.0, 6.5)
                d = half + roads.sidewalk + depth / 2 + (rng.uniform(0.3, 3) if urban else rng.uniform(4, 11))
                centre, yaw = path.beside(s + length / 2, side * d)
                turned = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
                grid = np.array([centre + a * length / 2 * turned[0] + b * depth / 2 * turned[1] for a in np.linspace(-1, 1, 7) for b in np.linspace(-1, 1, 5)])
                radius = np.hypot(length, depth) / 2
                apart = all(np.linalg.norm(centre - other) > 0.75 * (radius + reach) for other, reach in footprints)
                if apart and roads.clearance(grid).min() > roads.sidewalk and all(free(point, 2.6) for point in grid):
                    colour = vary(((0.5, 0.46, 0.4), (0.3, 0.13, 0.09), (0.45, 0.45, 0.46), (0.55, 0.5, 0.35), (0.2, 0.24, 0.28))[rng.integers(5)], rng, 0.25)
                    parts.append(_house(length, depth, height, int(rng.integers(FACADE_STYLES)), colour, not urban and rng.random() < 0.8, rng).moved(*centre, float(yaw)))
                    footprints.append((centre, radius))
                s += length + (rng.uniform(0.0, 5) if urban else rng.uniform(3, 14))
            lamp = rng.uniform(0, 20)
            for s in np.arange(begin + lamp, end, 27.0):
                xy, yaw = path.beside(s, side * (half + 0.7))
                if roads.clearance(xy[None])[0] > 0.4 and free(xy, 1.5):
                    parts.append(_lamp_post(1.8).moved(*xy, float(yaw - side * np.pi / 2)))
            for s in np.arange(begin, end, 8.0 if urban else 6.0):
                roll = rng.random()
                out = half + (roads.sidewalk * 0.25 if roll < 0.3 else roads.sidewalk + rng.uniform(0.6, 4.0))
                xy, yaw = path.beside(s + rng.uniform(-2, 2), side * out)
                if roads.clearance(xy[None])[0] < 0.5 or not free(xy, 1.6) or any(np.linalg.norm(xy - other) < reach * 0.8 for other, reach in footprints):
                    continue
                if roll < 0.55:
                    scale = rng.uniform(0.75, 1.2)
                    parts.append(trees[rng.integers(len(trees))].scaled((scale, scale, scale)).moved(*xy, rng.uniform(0, 6.28)))
                elif roll < 0.72:
                    parts.append(_furniture(rng).moved(*xy, float(yaw - side * np.pi / 2)))
                elif roll < 0.8:
                    parts.append(_sign(rng).moved(*xy, float(yaw + (0 if side > 0 else np.pi))))
                elif roll < 0.92:
                    parts.append(ellipsoid((0, 0, 0.5), (rng.uniform(0.8, 2.2), 0.6, rng.uniform(0.5, 0.9)), vary((0.05, 0.09, 0.03), rng, 0.3), Material.FOLIAGE).moved(*xy, float(yaw)))
    grey = (0.42, 0.41, 0.39)
    for side in (-1, 1):
        edges = sorted((c.s - c.half_width - 1.5, c.s + c.half_width + 1.5) for c in roads.crossings)
        stops = [low, *[value for edge in edges for value in edge], high]
        for a, b in zip(stops[::2], stops[1::2], strict=True):
            if b - a > 4:
                parts.append(_kerb(roads.main, (a, b), side * roads.half_width, grey))
        for c in roads.crossings:
            for arm in ((0.0, c.middle - roads.half_width - 1.5), (c.middle + roads.half_width + 1.5, c.path.length)):
                parts.append(_kerb(c.path, arm, side * c.half_width, grey))
            xy, yaw = roads.main.beside(c.s + side * (c.half_width + 4.5), side * (roads.half_width + 0.8))
            if free(xy, 1.2):
                parts.append(_traffic_light(min(4.5, roads.half_width * 0.6)).moved(*xy, float(yaw - side * np.pi / 2)))
    return join(parts)
