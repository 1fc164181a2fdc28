"""Geometry of trucks, from pick-ups to lorries, and of trailers. A mesh fills exactly its box standing on z = 0, x
forward.
"""

from dataclasses import dataclass

import numpy as np

from kd_synthetic.assets.cars import CarStyle, body, car_trim
from kd_synthetic.assets.mesh import Colour, Material, Mesh, Size, box, ellipsoid, frustum, join, tube
from kd_synthetic.assets.parts import DARK, HEADLAMP, TAIL_LAMP, bright, cabin, lamps, paint, plate, vary, wheel_pair


@dataclass(frozen=True)
class LoadSpace:
    """Where a load goes: from x0 at the rear to x1 at the front, as wide as the vehicle, between two heights."""

    x0: float
    x1: float
    width: float
    low: float
    high: float

    @property
    def mid(self) -> float:
        """x of the middle."""
        return (self.x0 + self.x1) / 2

    @property
    def span(self) -> float:
        """Length along x."""
        return self.x1 - self.x0

    @property
    def tall(self) -> float:
        """Height."""
        return self.high - self.low


def _truck_cab(x0: float, x1: float, width: float, z: tuple[float, float], colour: Colour) -> Mesh:
    """A cab-over cab between x0 and x1: steep windscreen, doors, grille, lamps and mirrors."""
    low, high = z
    middle = low + 0.5 * (high - low)
    half = width / 2
    parts = [
        frustum((x0, x1, -half, half), (x0, x1, -half, half), (low, middle), colour, Material.PAINT),
        cabin(
            (x0, x1, -half, half),
            (x0, x1 - 0.22, -half * 0.94, half * 0.94),
            (middle, high),
            colour,
            1,
            blind_rear=True,
            pillar=0.14,
        ),
        box((x1, 0, low + 0.3 * (middle - low)), (0.05, 0.6 * width, 0.4 * (middle - low)), DARK),
        lamps(x1, half * 0.95, low + 0.2, (0.25, 0.16), HEADLAMP),
        box((x1 - 0.02, 0, low - 0.02), (0.16, width, 0.22), DARK),
        plate(x1 + 0.07, low),
    ]
    parts += [box((x1 - 0.1, sign * (half - 0.02), middle + 0.3), (0.1, 0.2, 0.45), DARK) for sign in (-1, 1)]
    return join(parts)


def _chassis(length: float, width: float, radius: float, axles: tuple[float, ...], z: float) -> Mesh:
    parts = [box((0, 0, z), (length * 0.96, width * 0.4, 0.25), DARK)]
    parts += [wheel_pair(x, width, radius, 0.34, (0.25, 0.25, 0.26)) for x in axles]
    parts += [
        box((-length / 2 + 0.06, 0, z - 0.1), (0.08, width * 0.95, 0.14), DARK),
        lamps(-length / 2 + 0.03, width * 0.48, z, (0.25, 0.14), TAIL_LAMP),
        plate(-length / 2, z - 0.1),
    ]
    return join(parts)


def _closed_box(space: LoadSpace, colour: Colour, rng: np.random.Generator) -> Mesh:
    """A van body with stripes, seams and rear doors."""
    width, tall, middle = space.width, space.tall, (space.low + space.high) / 2
    parts = [box((space.mid, 0, middle), (space.span, width, tall), colour, Material.PAINT)]
    stripe, at = bright(rng), space.low + rng.uniform(0.2, 0.7) * tall
    for sign in (-1, 1):
        decal = (space.span * rng.uniform(0.4, 0.95), 0.02, tall * 0.2)
        parts.append(box((space.mid, sign * width / 2, at), decal, stripe))
    for x in np.linspace(space.x0, space.x1, 6):
        for sign in (-1, 1):
            parts.append(box((x, sign * width / 2, middle), (0.03, 0.03, tall), vary(colour, rng)))
    for sign in (-1, 1):
        parts.append(box((space.x0, sign * width * 0.24, middle), (0.03, width * 0.44, tall * 0.94), vary(colour, rng)))
    return join(parts)


def _tipper(space: LoadSpace, colour: Colour, rng: np.random.Generator) -> Mesh:
    """An open skip with ribs and a heap of earth."""
    x0, x1, width, low = space.x0, space.x1, space.width, space.low
    top = low + space.tall * 0.75
    ribs = [
        box((x, sign * width / 2, (low + top) / 2), (0.1, 0.06, top - low), vary(colour, rng, 0.05))
        for x in np.linspace(x0 + 0.1, x1 - 0.1, 6)
        for sign in (-1, 1)
    ]
    radii = (space.span * 0.42, width * 0.4, space.high - top + 0.1)
    heap = ellipsoid((space.mid, 0, top - 0.1), radii, (0.2, 0.15, 0.1))
    floor, rim = (x0 + 0.2, x1, -width * 0.45, width * 0.45), (x0, x1, -width / 2, width / 2)
    return join([frustum(floor, rim, (low, top), colour), heap, *ribs])


def _tank(space: LoadSpace) -> Mesh:
    """A steel tank with two manholes."""
    mid, low, high, width = space.mid, space.low, space.high, space.width
    radius = min(width, space.tall) / 2
    barrel = tube((space.x0, 0, 0), (space.x1, 0, 0), 1.0, (0.6, 0.61, 0.62), Material.METAL, sides=14)
    barrel = barrel.scaled((1, width / 2, space.tall / 2)).moved(0, 0, 0, (low + high) / 2)
    lids = [tube((x, 0, high - 0.02), (x, 0, high + 0.05), 0.3 * radius, DARK) for x in (mid - 1, mid + 1)]
    return join([barrel, box((mid, 0, low), (space.span, width * 0.7, 0.15), DARK), *lids])


def _flat_bed(space: LoadSpace, rng: np.random.Generator) -> Mesh:
    """A wooden floor with crates of all sizes."""
    x0, x1, width, low = space.x0, space.x1, space.width, space.low
    parts = [box((space.mid, 0, low + 0.08), (space.span, width, 0.16), (0.16, 0.1, 0.06))]
    parts.append(box((x1 - 0.05, 0, (low + space.high) / 2), (0.1, width, space.tall), DARK))
    x = x0 + 0.1
    while x < x1 - 0.8:
        step = min(rng.uniform(0.8, 1.6), x1 - 0.2 - x)
        tall = rng.uniform(0.3, 0.95) * (space.high - low - 0.2)
        crate = (step * 0.95, width * rng.uniform(0.6, 0.95), tall)
        parts.append(box((x + step / 2, 0, low + 0.16 + tall / 2), crate, bright(rng)))
        x += step
    return join(parts)


def _cargo(space: LoadSpace, kind: str, rng: np.random.Generator) -> Mesh:
    """A load of a kind: 'box', 'tipper', 'tank' or 'flat'."""
    colour = (0.7, 0.71, 0.72) if rng.random() < 0.5 else bright(rng)
    if kind == "box":
        return _closed_box(space, colour, rng)
    if kind == "tipper":
        return _tipper(space, colour, rng)
    if kind == "tank":
        return _tank(space)
    return _flat_bed(space, rng)


def _pickup(size: Size, rng: np.random.Generator) -> Mesh:
    length, width, height = size
    colour, half = paint(rng), width / 2
    style = CarStyle(
        (
            (-0.5, 0.28, 0.6, 0.48),
            (-0.49, 0.24, 0.6, 0.495),
            (0.0, 0.22, 0.6, 0.5),
            (0.22, 0.22, 0.6, 0.5),
            (0.44, 0.24, 0.56, 0.48),
            (0.5, 0.3, 0.48, 0.44),
        ),
        (-0.12, 0.25),
        (-0.1, 0.12),
        0.6,
        2,
    )
    bed = box((-0.31 * length, 0, 0.605 * height), (0.34 * length, width * 0.84, 0.02 * height), DARK)
    top = (style.cabin_top[0] * length, style.cabin_top[1] * length, -half * 0.8, half * 0.8)
    bottom = (style.cabin_bottom[0] * length, style.cabin_bottom[1] * length, -half * 0.93, half * 0.93)
    walls = [
        box(
            (-0.31 * length, sign * half * 0.93, 0.64 * height),
            (0.36 * length, 0.07, 0.08 * height),
            colour,
            Material.PAINT,
        )
        for sign in (-1, 1)
    ]
    tail = box((-0.49 * length, 0, 0.64 * height), (0.06, width * 0.9, 0.08 * height), colour, Material.PAINT)
    return join(
        [
            body(style, size, colour),
            cabin(bottom, top, (0.6 * height, height), colour, 2),
            bed,
            tail,
            *walls,
            *car_trim(style, size, rng),
        ]
    )


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
    kind = str(rng.choice(("box", "tipper", "tank", "flat"), p=(0.5, 0.2, 0.1, 0.2)))
    cargo = _cargo(LoadSpace(rear, front - cab_length - 0.12, width, radius * 2 + 0.05, height), kind, rng)
    return join(
        [
            _chassis(length, width * 0.96, radius, axles, radius * 1.5),
            _truck_cab(front - cab_length, front, width * 0.96, (radius * 0.9, cab_top), paint(rng)),
            cargo,
        ]
    ).fitted(size)


def build_trailer(size: Size, rng: np.random.Generator) -> Mesh:
    """A semi-trailer (box, tank, flat bed) or, when short, a two-wheeled car trailer."""
    length, width, height = size
    front, rear = length / 2, -length / 2
    if length < 5:
        bar = tube((front, 0, 0.5), (front * 0.55, 0, 0.5), 0.05, DARK)
        kind = str(rng.choice(("box", "flat")))
        cargo = _cargo(LoadSpace(rear, front * 0.6, width, 0.55, height), kind, rng)
        return join([cargo, wheel_pair(-0.05 * length, width, 0.33, 0.2), bar]).fitted(size)
    axles = tuple(rear + 1.2 + 1.25 * i for i in range(3 if length > 10 else 2))
    legs = [
        tube((front - 2.2, sign * 0.35 * width, 0.1), (front - 2.2, sign * 0.35 * width, 1.1), 0.07, DARK)
        for sign in (-1, 1)
    ]
    guards = [
        box((0, sign * width * 0.48, 0.75), (0.45 * length, 0.04, 0.35), (0.4, 0.4, 0.4), Material.METAL)
        for sign in (-1, 1)
    ]
    kind = str(rng.choice(("box", "tank", "flat"), p=(0.65, 0.15, 0.2)))
    cargo = _cargo(LoadSpace(rear, front, width, 1.12, height), kind, rng)
    return join([_chassis(length, width * 0.98, 0.48, axles, 0.95), cargo, *legs, *guards]).fitted(size)
