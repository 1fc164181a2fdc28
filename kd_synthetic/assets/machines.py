"""Geometry of buses and construction vehicles. A mesh fills exactly its box (l, w, h) standing on z = 0, x forward."""

from collections.abc import Callable

import numpy as np

from kd_synthetic.assets.mesh import Colour, Material, Mesh, Size, box, frustum, join, tube
from kd_synthetic.assets.parts import (
    AMBER,
    DARK,
    HEADLAMP,
    RUBBER,
    TAIL_LAMP,
    bright,
    cabin,
    lamps,
    pane,
    plate,
    vary,
    wheel_pair,
)

MACHINE_YELLOW: Colour = (0.62, 0.33, 0.02)


def build_bus(size: Size, rng: np.random.Generator) -> Mesh:
    """A city bus: low floor, window band, doors on the right, destination sign, roof pod."""
    length, width, height = size
    colour, accent = (bright(rng) if rng.random() < 0.7 else (0.7, 0.7, 0.7)), bright(rng)
    half, front, rear = width / 2, length / 2, -length / 2
    low, belt, head = 0.3, 0.38 * height, 0.8 * height
    parts = [
        frustum((rear, front, -half, half), (rear, front, -half, half), (low, belt), colour, Material.PAINT),
        cabin(
            (rear, front, -half, half),
            (rear + 0.08, front - 0.12, -half * 0.97, half * 0.97),
            (belt, head),
            colour,
            max(4, int(length / 1.6)),
            pillar=0.01,
        ),
        frustum(
            (rear + 0.08, front - 0.12, -half * 0.97, half * 0.97),
            (rear + 0.2, front - 0.25, -half * 0.9, half * 0.9),
            (head, 0.93 * height),
            colour,
            Material.PAINT,
        ),
        box((rear + 0.3 * length, 0, 0.965 * height), (0.3 * length, 0.7 * width, 0.07 * height), (0.6, 0.6, 0.6)),
        box((front - 0.16, 0, 0.86 * height), (0.06, 0.6 * width, 0.07 * height), (0.9, 0.45, 0.05), Material.LIGHT),
        lamps(front, half * 0.95, 0.22 * height, (0.35, 0.2), HEADLAMP),
        lamps(rear, half * 0.97, 0.28 * height, (0.2, 0.4), TAIL_LAMP),
        box((rear, 0, 0.2 * height), (0.05, width * 0.7, 0.2 * height), DARK),
        plate(front + 0.03, 0.12 * height),
        plate(rear - 0.03, 0.18 * height),
    ]
    parts += [wheel_pair(x, width, 0.48, 0.3, (0.3, 0.3, 0.3)) for x in (front - 0.22 * length, rear + 0.24 * length)]
    parts += [
        box((0, sign * half, belt - 0.12 * height), (length * 0.98, 0.02, 0.08 * height), accent) for sign in (-1, 1)
    ]
    side = np.array(
        [(rear, -half, low), (front, -half, low), (front - 0.12, -half * 0.97, head), (rear + 0.08, -half * 0.97, head)]
    )
    parts += [pane(side, (at, at + 1.1 / length), (0.05, 0.95), lift=0.02) for at in (0.5, 0.92 - 0.6 / length)]
    parts += [box((front + 0.02, sign * half * 0.98, 0.7 * height), (0.25, 0.12, 0.35), DARK) for sign in (-1, 1)]
    return join(parts).fitted(size)


def _tracks(length: float, width: float) -> list[Mesh]:
    parts = []
    for sign in (-1, 1):
        y = sign * (width / 2 - 0.28)
        parts += [box((0, y, 0.42), (length * 0.8, 0.55, 0.8), RUBBER)]
        parts += [
            tube((x * length * 0.4, y - 0.28, 0.42), (x * length * 0.4, y + 0.28, 0.42), 0.41, RUBBER, sides=10)
            for x in (-1, 1)
        ]
        parts += [
            tube((x, y + sign * 0.28, 0.38), (x, y + sign * 0.31, 0.38), 0.2, (0.2, 0.2, 0.2), sides=8)
            for x in np.linspace(-0.35, 0.35, 4) * length
        ]
    return parts


def _excavator(size: Size, colour: Colour) -> list[Mesh]:
    length, width, height = size
    base = length * 0.62
    parts = [piece.moved(-0.19 * length, 0, 0) for piece in _tracks(base, width)]
    parts += [
        box((-0.22 * length, 0, 1.2), (0.56 * length, 0.9 * width, 0.65), colour, Material.PAINT),
        box((-0.43 * length, 0, 1.35), (0.14 * length, 0.92 * width, 0.95), DARK),
        cabin(
            (-0.15 * length, 0.08 * length, 0.02, 0.44 * width),
            (-0.14 * length, 0.05 * length, 0.04, 0.42 * width),
            (1.3, 0.98 * height),
            colour,
            1,
        ),
        tube((0.0, -0.12 * width, 1.4), (0.27 * length, -0.12 * width, height * 0.97), (0.24, 0.2), colour, sides=6),
        tube(
            (0.27 * length, -0.12 * width, height * 0.97),
            (0.43 * length, -0.12 * width, 0.8),
            (0.19, 0.14),
            colour,
            sides=6,
        ),
        frustum(
            (0.32 * length, 0.46 * length, -0.3 * width, 0.06 * width),
            (0.36 * length, 0.5 * length, -0.34 * width, 0.1 * width),
            (0.05, 0.8),
            (0.12, 0.11, 0.1),
        ),
        tube(
            (-0.12 * length, 0.3 * width, 0.98 * height),
            (-0.12 * length, 0.3 * width, height),
            0.08,
            AMBER,
            Material.LIGHT,
        ),
    ]
    return parts


def _loader(size: Size, colour: Colour) -> list[Mesh]:
    length, width, height = size
    parts = [wheel_pair(x * length, width, 0.28 * height, 0.5, colour) for x in (-0.3, 0.12)]
    parts += [
        frustum(
            (-0.5 * length, -0.1 * length, -0.3 * width, 0.3 * width),
            (-0.48 * length, -0.1 * length, -0.27 * width, 0.27 * width),
            (0.3 * height, 0.62 * height),
            colour,
            Material.PAINT,
        ),
        box((0.02 * length, 0, 0.38 * height), (0.3 * length, 0.4 * width, 0.25 * height), colour),
        cabin(
            (-0.16 * length, 0.08 * length, -0.28 * width, 0.28 * width),
            (-0.14 * length, 0.05 * length, -0.26 * width, 0.26 * width),
            (0.5 * height, height),
            colour,
            1,
        ),
        frustum(
            (0.36 * length, 0.44 * length, -0.5 * width, 0.5 * width),
            (0.34 * length, 0.5 * length, -0.5 * width, 0.5 * width),
            (0.03 * height, 0.42 * height),
            (0.16, 0.14, 0.1),
        ),
    ]
    parts += [
        tube(
            (0.05 * length, sign * 0.22 * width, 0.5 * height),
            (0.38 * length, sign * 0.22 * width, 0.2 * height),
            0.13,
            colour,
            sides=6,
        )
        for sign in (-1, 1)
    ]
    return parts


def _roller(size: Size, colour: Colour) -> list[Mesh]:
    length, width, height = size
    radius = 0.26 * height
    return [
        tube(
            (0.32 * length, -0.5 * width, radius),
            (0.32 * length, 0.5 * width, radius),
            radius,
            (0.3, 0.3, 0.31),
            Material.METAL,
            sides=16,
        ),
        tube((-0.32 * length, -0.5 * width, radius), (-0.32 * length, 0.5 * width, radius), radius, RUBBER, sides=16),
        box((0, 0, 0.42 * height), (0.95 * length, 0.55 * width, 0.22 * height), colour, Material.PAINT),
        box((0.3 * length, 0, 0.46 * height), (0.4 * length, 0.95 * width, 0.1 * height), colour),
        box((0, 0, 0.97 * height), (0.45 * length, 0.8 * width, 0.05 * height), colour, Material.PAINT),
        *[
            tube(
                (sx * 0.2 * length, sy * 0.36 * width, 0.5 * height),
                (sx * 0.2 * length, sy * 0.36 * width, 0.96 * height),
                0.05,
                DARK,
                sides=6,
            )
            for sx in (-1, 1)
            for sy in (-1, 1)
        ],
        box((-0.05 * length, 0, 0.6 * height), (0.4, 0.5, 0.3), DARK),
    ]


def build_construction_vehicle(size: Size, rng: np.random.Generator) -> Mesh:
    """An excavator, a wheel loader or a roller."""
    colour = vary(MACHINE_YELLOW, rng, 0.2) if rng.random() < 0.8 else vary((0.5, 0.1, 0.02), rng)
    makers: tuple[Callable[[Size, Colour], list[Mesh]], ...] = (_excavator, _loader, _roller)
    return join(makers[int(rng.choice(3, p=(0.45, 0.35, 0.2)))](size, colour)).fitted(size)
