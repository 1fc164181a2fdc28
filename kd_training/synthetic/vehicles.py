"""Geometry of cars, trucks, buses, trailers and construction vehicles, each from parts in several styles.

Every builder returns a mesh that fills exactly its box (l, w, h) standing on z = 0, x forward.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kd_training.synthetic.mesh import Colour, Material, Mesh, box, ellipsoid, frustum, join, loft, tube
from kd_training.synthetic.parts import (
    AMBER, CHROME, DARK, HEADLAMP, RUBBER, TAIL_LAMP, bright, cabin, lamps, paint, pane, plate, vary, wheel_pair,
)

Size = tuple[float, float, float]
MACHINE_YELLOW: Colour = (0.62, 0.33, 0.02)


@dataclass(frozen=True)
class CarStyle:
    """Side view of a car as fractions of its length (x from -0.5 rear to 0.5 front) and height."""

    body: tuple[tuple[float, float, float, float], ...]  # x, sill, top, half width (fraction of width)
    cabin_bottom: tuple[float, float]
    cabin_top: tuple[float, float]
    belt: float
    panes: int


SEDAN = CarStyle(
    ((-0.5, 0.28, 0.56, 0.42), (-0.475, 0.2, 0.62, 0.475), (-0.34, 0.15, 0.645, 0.5), (0.05, 0.15, 0.62, 0.5), (0.24, 0.15, 0.6, 0.5),
     (0.41, 0.17, 0.53, 0.48), (0.475, 0.19, 0.47, 0.45), (0.5, 0.26, 0.4, 0.38)), (-0.37, 0.24), (-0.23, 0.07), 0.6, 2)
HATCH = CarStyle(
    ((-0.5, 0.27, 0.5, 0.42), (-0.485, 0.18, 0.6, 0.48), (-0.3, 0.15, 0.62, 0.5), (0.1, 0.15, 0.6, 0.5), (0.26, 0.15, 0.58, 0.5),
     (0.43, 0.17, 0.5, 0.47), (0.5, 0.24, 0.4, 0.38)), (-0.485, 0.28), (-0.38, 0.1), 0.585, 2)
SUV = CarStyle(
    ((-0.5, 0.25, 0.55, 0.44), (-0.485, 0.2, 0.61, 0.485), (-0.3, 0.18, 0.62, 0.5), (0.1, 0.18, 0.61, 0.5), (0.24, 0.18, 0.6, 0.5),
     (0.44, 0.2, 0.555, 0.48), (0.48, 0.2, 0.5, 0.46), (0.5, 0.27, 0.44, 0.42)), (-0.488, 0.25), (-0.43, 0.11), 0.59, 3)
VAN = CarStyle(
    ((-0.5, 0.2, 0.5, 0.46), (-0.49, 0.16, 0.52, 0.49), (0.0, 0.14, 0.52, 0.5), (0.3, 0.14, 0.5, 0.5), (0.44, 0.15, 0.44, 0.48),
     (0.5, 0.2, 0.34, 0.42)), (-0.49, 0.42), (-0.48, 0.22), 0.49, 3)
WAGON = CarStyle(
    ((-0.5, 0.27, 0.52, 0.42), (-0.485, 0.18, 0.6, 0.48), (-0.2, 0.15, 0.62, 0.5), (0.22, 0.15, 0.6, 0.5), (0.42, 0.17, 0.53, 0.47),
     (0.5, 0.25, 0.4, 0.38)), (-0.48, 0.25), (-0.42, 0.09), 0.59, 3)
CAR_STYLES = ((SEDAN, 0.33), (HATCH, 0.17), (SUV, 0.3), (VAN, 0.12), (WAGON, 0.08))


def _body(style: CarStyle, size: Size, colour: Colour) -> Mesh:
    length, width, height = size
    sections = []
    for x, sill, top, half in style.body:
        mid = sill + 0.55 * (top - sill)
        outline = [(half * 0.9, sill), (half, mid), (half * 0.96, top - 0.02), (half * 0.8, top)]
        outline += [(-y, z) for y, z in reversed(outline)]
        sections.append([(x * length, y * width, z * height) for y, z in outline])
    return loft(np.array(sections), colour, Material.PAINT)


def _car_trim(style: CarStyle, size: Size, rng: np.random.Generator) -> list[Mesh]:
    length, width, height = size
    front, rear, half = 0.5 * length, -0.5 * length, width / 2
    lamp_z, wheel_radius = 0.8 * style.body[-2][2] * height, min(0.36, 0.215 * height)
    rim = vary((0.4, 0.41, 0.43), rng, 0.5)
    trim = [
        wheel_pair(front - 0.19 * length, width, wheel_radius, 0.2, rim), wheel_pair(rear + 0.2 * length, width, wheel_radius, 0.2, rim),
        lamps(front - 0.035 * length, 0.45 * width, lamp_z, (0.2 * width, 0.07 * height), HEADLAMP),
        lamps(rear + 0.012 * length, 0.47 * width, 0.52 * height, (0.14 * width, 0.1 * height), TAIL_LAMP),
        box((front - 0.01, 0, 0.3 * height), (0.04, 0.5 * width, 0.1 * height), DARK), box((rear + 0.01, 0, 0.24 * height), (0.05, 0.8 * width, 0.1 * height), DARK),
        plate(front + 0.005, 0.25 * height), plate(rear - 0.005, 0.36 * height),
    ]
    for sign in (-1, 1):
        trim.append(box((style.cabin_bottom[1] * length - 0.25, sign * (half - 0.04), (style.belt + 0.05) * height), (0.12, 0.16, 0.11), DARK, Material.PAINT))
        for door in (0.02, -0.2):  # door seams and handles
            trim.append(box((door * length, sign * half * 0.995, 0.42 * height), (0.015, 0.012, 0.3 * height), DARK))
            trim.append(box((door * length + 0.2, sign * half * 0.985, 0.53 * height), (0.16, 0.03, 0.03), CHROME, Material.METAL))
    return trim


def build_car(size: Size, rng: np.random.Generator) -> Mesh:
    """A sedan, hatchback, SUV, van or estate; some are taxis with a roof sign, some carry roof rails."""
    length, width, height = size
    weights = np.array([weight * (1.0 if style is not VAN or height > 1.75 else 0.1) * (1.0 if style is not SEDAN or height < 1.7 else 0.05)
                        for style, weight in CAR_STYLES])
    style = CAR_STYLES[rng.choice(len(CAR_STYLES), p=weights / weights.sum())][0]
    colour = paint(rng)
    half = width / 2
    top_half = half * rng.uniform(0.7, 0.78) if style is not VAN else half * 0.86
    bottom = (style.cabin_bottom[0] * length, style.cabin_bottom[1] * length, -half * 0.93, half * 0.93)
    top = (style.cabin_top[0] * length, style.cabin_top[1] * length, -top_half, top_half)
    parts = [_body(style, size, colour), cabin(bottom, top, (style.belt * height, 0.98 * height), colour, style.panes)]
    parts.append(frustum((top[0], top[1], top[2], top[3]), (top[0] + 0.1, top[1] - 0.1, top[2] + 0.1, top[3] - 0.1), (0.98 * height, height), colour, Material.PAINT))
    parts += _car_trim(style, size, rng)
    extra = rng.random()
    if extra < 0.06:
        parts.append(box((0, 0, height + 0.07), (0.3, 0.7, 0.14), (0.8, 0.6, 0.1), Material.LIGHT))
    elif extra < 0.3 and style in (SUV, WAGON):
        parts += [box((np.mean(top[:2]), sign * top_half * 0.9, height + 0.03), (0.8 * (top[1] - top[0]), 0.04, 0.05), CHROME, Material.METAL) for sign in (-1, 1)]
    return join(parts).fitted(size)


def _truck_cab(x0: float, x1: float, width: float, z: tuple[float, float], colour: Colour) -> Mesh:
    """A cab-over cab between x0 and x1: steep windscreen, doors, grille, lamps and mirrors."""
    low, high = z
    middle = low + 0.5 * (high - low)
    half = width / 2
    parts = [
        frustum((x0, x1, -half, half), (x0, x1, -half, half), (low, middle), colour, Material.PAINT),
        cabin((x0, x1, -half, half), (x0, x1 - 0.22, -half * 0.94, half * 0.94), (middle, high), colour, 1, blind_rear=True, pillar=0.14),
        box((x1, 0, low + 0.3 * (middle - low)), (0.05, 0.6 * width, 0.4 * (middle - low)), DARK), lamps(x1, half * 0.95, low + 0.2, (0.25, 0.16), HEADLAMP),
        box((x1 - 0.02, 0, low - 0.02), (0.16, width, 0.22), DARK), plate(x1 + 0.07, low),
    ]
    parts += [box((x1 - 0.1, sign * (half - 0.02), middle + 0.3), (0.1, 0.2, 0.45), DARK) for sign in (-1, 1)]
    return join(parts)


def _chassis(length: float, width: float, radius: float, axles: tuple[float, ...], z: float) -> Mesh:
    parts = [box((0, 0, z), (length * 0.96, width * 0.4, 0.25), DARK)]
    parts += [wheel_pair(x, width, radius, 0.34, (0.25, 0.25, 0.26)) for x in axles]
    parts += [box((-length / 2 + 0.06, 0, z - 0.1), (0.08, width * 0.95, 0.14), DARK), lamps(-length / 2 + 0.03, width * 0.48, z, (0.25, 0.14), TAIL_LAMP), plate(-length / 2, z - 0.1)]
    return join(parts)


def _cargo(x0: float, x1: float, width: float, z: tuple[float, float], kind: int, rng: np.random.Generator) -> Mesh:
    """A load: closed box with stripes, tipper, tank, or flat bed with goods."""
    low, high = z
    mid, span = (x0 + x1) / 2, x1 - x0
    colour = (0.7, 0.71, 0.72) if rng.random() < 0.5 else bright(rng)
    if kind == 0:
        body = box((mid, 0, (low + high) / 2), (span, width, high - low), colour, Material.PAINT)
        stripe, at = bright(rng), rng.uniform(0.2, 0.7)
        decals = [box((mid, sign * width / 2, low + at * (high - low)), (span * rng.uniform(0.4, 0.95), 0.02, (high - low) * 0.2), stripe) for sign in (-1, 1)]
        seams = [box((x, sign * width / 2, (low + high) / 2), (0.03, 0.03, high - low), vary(colour, rng)) for x in np.linspace(x0, x1, 6) for sign in (-1, 1)]
        doors = [box((x0, sign * width * 0.24, (low + high) / 2), (0.03, width * 0.44, (high - low) * 0.94), vary(colour, rng)) for sign in (-1, 1)]
        return join([body, *decals, *seams, *doors])
    if kind == 1:
        top = low + (high - low) * 0.75
        ribs = [box((x, sign * width / 2, (low + top) / 2), (0.1, 0.06, top - low), vary(colour, rng, 0.05)) for x in np.linspace(x0 + 0.1, x1 - 0.1, 6) for sign in (-1, 1)]
        heap = ellipsoid((mid, 0, top - 0.1), (span * 0.42, width * 0.4, high - top + 0.1), (0.2, 0.15, 0.1))
        return join([frustum((x0 + 0.2, x1, -width * 0.45, width * 0.45), (x0, x1, -width / 2, width / 2), (low, top), colour), heap, *ribs])
    if kind == 2:
        radius = min(width, high - low) / 2
        tank = tube((x0, 0, 0), (x1, 0, 0), 1.0, (0.6, 0.61, 0.62), Material.METAL, sides=14).scaled((1, width / 2, (high - low) / 2)).moved(0, 0, 0, (low + high) / 2)
        return join([tank, box((mid, 0, low), (span, width * 0.7, 0.15), DARK), *[tube((x, 0, high - 0.02), (x, 0, high + 0.05), 0.3 * radius, DARK) for x in (mid - 1, mid + 1)]])
    floor = box((mid, 0, low + 0.08), (span, width, 0.16), (0.16, 0.1, 0.06))
    goods, x = [box((x1 - 0.05, 0, (low + high) / 2), (0.1, width, high - low), DARK)], x0 + 0.1
    while x < x1 - 0.8:
        step = min(rng.uniform(0.8, 1.6), x1 - 0.2 - x)
        tall = rng.uniform(0.3, 0.95) * (high - low - 0.2)
        goods.append(box((x + step / 2, 0, low + 0.16 + tall / 2), (step * 0.95, width * rng.uniform(0.6, 0.95), tall), bright(rng)))
        x += step
    return join([floor, *goods])


def _pickup(size: Size, rng: np.random.Generator) -> Mesh:
    length, width, height = size
    colour, half = paint(rng), width / 2
    style = CarStyle(((-0.5, 0.28, 0.6, 0.48), (-0.49, 0.24, 0.6, 0.495), (0.0, 0.22, 0.6, 0.5), (0.22, 0.22, 0.6, 0.5), (0.44, 0.24, 0.56, 0.48), (0.5, 0.3, 0.48, 0.44)),
                     (-0.12, 0.25), (-0.1, 0.12), 0.6, 2)
    bed = box((-0.31 * length, 0, 0.605 * height), (0.34 * length, width * 0.84, 0.02 * height), DARK)
    top = (style.cabin_top[0] * length, style.cabin_top[1] * length, -half * 0.8, half * 0.8)
    bottom = (style.cabin_bottom[0] * length, style.cabin_bottom[1] * length, -half * 0.93, half * 0.93)
    walls = [box((-0.31 * length, sign * half * 0.93, 0.64 * height), (0.36 * length, 0.07, 0.08 * height), colour, Material.PAINT) for sign in (-1, 1)]
    tail = box((-0.49 * length, 0, 0.64 * height), (0.06, width * 0.9, 0.08 * height), colour, Material.PAINT)
    return join([_body(style, size, colour), cabin(bottom, top, (0.6 * height, height), colour, 2), bed, tail, *walls, *_car_trim(style, size, rng)])


def build_truck(size: Size, rng: np.random.Generator) -> Mesh:
    """A pick-up (when short), or a cab-over lorry with box, tipper, tank or flat bed."""
    length, width, height = size
    if length < 5.9:
        return _pickup(size, rng).fitted(size)
    radius = 0.48 if height > 2.6 else 0.4
    cab_length = min(2.2, 0.32 * length)
    front, rear = length / 2, -length / 2
    axles = (front - 0.6 * cab_length, rear + 0.22 * length) + ((rear + 0.22 * length + 1.15,) if length > 8.5 else ())
    cab_top = height * rng.uniform(0.78, 0.95)
    kind = int(rng.choice(4, p=(0.5, 0.2, 0.1, 0.2)))
    cargo = _cargo(rear, front - cab_length - 0.12, width, (radius * 2 + 0.05, height), kind, rng)
    return join([_chassis(length, width * 0.96, radius, axles, radius * 1.5), _truck_cab(front - cab_length, front, width * 0.96, (radius * 0.9, cab_top), paint(rng)), cargo]).fitted(size)


def build_bus(size: Size, rng: np.random.Generator) -> Mesh:
    """A city bus: low floor, window band, doors on the right, destination sign, roof pod."""
    length, width, height = size
    colour, accent = (bright(rng) if rng.random() < 0.7 else (0.7, 0.7, 0.7)), bright(rng)
    half, front, rear = width / 2, length / 2, -length / 2
    low, belt, head = 0.3, 0.38 * height, 0.8 * height
    parts = [
        frustum((rear, front, -half, half), (rear, front, -half, half), (low, belt), colour, Material.PAINT),
        cabin((rear, front, -half, half), (rear + 0.08, front - 0.12, -half * 0.97, half * 0.97), (belt, head), colour, max(4, int(length / 1.6)), pillar=0.01),
        frustum((rear + 0.08, front - 0.12, -half * 0.97, half * 0.97), (rear + 0.2, front - 0.25, -half * 0.9, half * 0.9), (head, 0.93 * height), colour, Material.PAINT),
        box((rear + 0.3 * length, 0, 0.965 * height), (0.3 * length, 0.7 * width, 0.07 * height), (0.6, 0.6, 0.6)),
        box((front - 0.16, 0, 0.86 * height), (0.06, 0.6 * width, 0.07 * height), (0.9, 0.45, 0.05), Material.LIGHT),
        lamps(front, half * 0.95, 0.22 * height, (0.35, 0.2), HEADLAMP), lamps(rear, half * 0.97, 0.28 * height, (0.2, 0.4), TAIL_LAMP),
        box((rear, 0, 0.2 * height), (0.05, width * 0.7, 0.2 * height), DARK), plate(front + 0.03, 0.12 * height), plate(rear - 0.03, 0.18 * height),
    ]
    parts += [wheel_pair(x, width, 0.48, 0.3, (0.3, 0.3, 0.3)) for x in (front - 0.22 * length, rear + 0.24 * length)]
    parts += [box((0, sign * half, belt - 0.12 * height), (length * 0.98, 0.02, 0.08 * height), accent) for sign in (-1, 1)]
    side = np.array([(rear, -half, low), (front, -half, low), (front - 0.12, -half * 0.97, head), (rear + 0.08, -half * 0.97, head)])
    parts += [pane(side, (at, at + 1.1 / length), (0.05, 0.95), lift=0.02) for at in (0.5, 0.92 - 0.6 / length)]
    parts += [box((front + 0.02, sign * half * 0.98, 0.7 * height), (0.25, 0.12, 0.35), DARK) for sign in (-1, 1)]
    return join(parts).fitted(size)


def build_trailer(size: Size, rng: np.random.Generator) -> Mesh:
    """A semi-trailer (box, tank, flat bed) or, when short, a two-wheeled car trailer."""
    length, width, height = size
    front, rear = length / 2, -length / 2
    if length < 5:
        bar = tube((front, 0, 0.5), (front * 0.55, 0, 0.5), 0.05, DARK)
        return join([_cargo(rear, front * 0.6, width, (0.55, height), int(rng.choice((0, 3))), rng), wheel_pair(-0.05 * length, width, 0.33, 0.2), bar]).fitted(size)
    axles = tuple(rear + 1.2 + 1.25 * i for i in range(3 if length > 10 else 2))
    legs = [tube((front - 2.2, sign * 0.35 * width, 0.1), (front - 2.2, sign * 0.35 * width, 1.1), 0.07, DARK) for sign in (-1, 1)]
    guards = [box((0, sign * width * 0.48, 0.75), (0.45 * length, 0.04, 0.35), (0.4, 0.4, 0.4), Material.METAL) for sign in (-1, 1)]
    cargo = _cargo(rear, front, width, (1.12, height), int(rng.choice((0, 2, 3), p=(0.65, 0.15, 0.2))), rng)
    return join([_chassis(length, width * 0.98, 0.48, axles, 0.95), cargo, *legs, *guards]).fitted(size)


def _tracks(length: float, width: float) -> list[Mesh]:
    parts = []
    for sign in (-1, 1):
        y = sign * (width / 2 - 0.28)
        parts += [box((0, y, 0.42), (length * 0.8, 0.55, 0.8), RUBBER)]
        parts += [tube((x * length * 0.4, y - 0.28, 0.42), (x * length * 0.4, y + 0.28, 0.42), 0.41, RUBBER, sides=10) for x in (-1, 1)]
        parts += [tube((x, y + sign * 0.28, 0.38), (x, y + sign * 0.31, 0.38), 0.2, (0.2, 0.2, 0.2), sides=8) for x in np.linspace(-0.35, 0.35, 4) * length]
    return parts


def _excavator(size: Size, colour: Colour) -> list[Mesh]:
    length, width, height = size
    base = length * 0.62
    parts = [piece.moved(-0.19 * length, 0, 0) for piece in _tracks(base, width)]
    parts += [
        box((-0.22 * length, 0, 1.2), (0.56 * length, 0.9 * width, 0.65), colour, Material.PAINT), box((-0.43 * length, 0, 1.35), (0.14 * length, 0.92 * width, 0.95), DARK),
        cabin((-0.15 * length, 0.08 * length, 0.02, 0.44 * width), (-0.14 * length, 0.05 * length, 0.04, 0.42 * width), (1.3, 0.98 * height), colour, 1),
        tube((0.0, -0.12 * width, 1.4), (0.27 * length, -0.12 * width, height * 0.97), (0.24, 0.2), colour, sides=6),
        tube((0.27 * length, -0.12 * width, height * 0.97), (0.43 * length, -0.12 * width, 0.8), (0.19, 0.14), colour, sides=6),
        frustum((0.32 * length, 0.46 * length, -0.3 * width, 0.06 * width), (0.36 * length, 0.5 * length, -0.34 * width, 0.1 * width), (0.05, 0.8), (0.12, 0.11, 0.1)),
        tube((-0.12 * length, 0.3 * width, 0.98 * height), (-0.12 * length, 0.3 * width, height), 0.08, AMBER, Material.LIGHT),
    ]
    return parts


def _loader(size: Size, colour: Colour) -> list[Mesh]:
    length, width, height = size
    parts = [wheel_pair(x * length, width, 0.28 * height, 0.5, colour) for x in (-0.3, 0.12)]
    parts += [
        frustum((-0.5 * length, -0.1 * length, -0.3 * width, 0.3 * width), (-0.48 * length, -0.1 * length, -0.27 * width, 0.27 * width), (0.3 * height, 0.62 * height), colour, Material.PAINT),
        box((0.02 * length, 0, 0.38 * height), (0.3 * length, 0.4 * width, 0.25 * height), colour),
        cabin((-0.16 * length, 0.08 * length, -0.28 * width, 0.28 * width), (-0.14 * length, 0.05 * length, -0.26 * width, 0.26 * width), (0.5 * height, height), colour, 1),
        frustum((0.36 * length, 0.44 * length, -0.5 * width, 0.5 * width), (0.34 * length, 0.5 * length, -0.5 * width, 0.5 * width), (0.03 * height, 0.42 * height), (0.16, 0.14, 0.1)),
    ]
    parts += [tube((0.05 * length, sign * 0.22 * width, 0.5 * height), (0.38 * length, sign * 0.22 * width, 0.2 * height), 0.13, colour, sides=6) for sign in (-1, 1)]
    return parts


def _roller(size: Size, colour: Colour) -> list[Mesh]:
    length, width, height = size
    radius = 0.26 * height
    return [
        tube((0.32 * length, -0.5 * width, radius), (0.32 * length, 0.5 * width, radius), radius, (0.3, 0.3, 0.31), Material.METAL, sides=16),
        tube((-0.32 * length, -0.5 * width, radius), (-0.32 * length, 0.5 * width, radius), radius, RUBBER, sides=16),
        box((0, 0, 0.42 * height), (0.95 * length, 0.55 * width, 0.22 * height), colour, Material.PAINT), box((0.3 * length, 0, 0.46 * height), (0.4 * length, 0.95 * width, 0.1 * height), colour),
        box((0, 0, 0.97 * height), (0.45 * length, 0.8 * width, 0.05 * height), colour, Material.PAINT),
        *[tube((sx * 0.2 * length, sy * 0.36 * width, 0.5 * height), (sx * 0.2 * length, sy * 0.36 * width, 0.96 * height), 0.05, DARK, sides=6) for sx in (-1, 1) for sy in (-1, 1)],
        box((-0.05 * length, 0, 0.6 * height), (0.4, 0.5, 0.3), DARK),
    ]


def build_construction_vehicle(size: Size, rng: np.random.Generator) -> Mesh:
    """An excavator, a wheel loader or a roller."""
    colour = vary(MACHINE_YELLOW, rng, 0.2) if rng.random() < 0.8 else vary((0.5, 0.1, 0.02), rng)
    makers: tuple[Callable[[Size, Colour], list[Mesh]], ...] = (_excavator, _loader, _roller)
    return join(makers[int(rng.choice(3, p=(0.45, 0.35, 0.2)))](size, colour)).fitted(size)
