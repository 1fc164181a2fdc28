"""Geometry of cars in five body styles. A mesh fills exactly its box (l, w, h) standing on z = 0, x forward."""

from dataclasses import dataclass

import numpy as np

from kd_synthetic.assets.mesh import Colour, Material, Mesh, Size, box, frustum, join, loft
from kd_synthetic.assets.parts import CHROME, DARK, HEADLAMP, TAIL_LAMP, cabin, lamps, paint, plate, vary, wheel_pair


@dataclass(frozen=True)
class CarStyle:
    """Side view of a car as fractions of its length (x from -0.5 rear to 0.5 front) and height."""

    body: tuple[tuple[float, float, float, float], ...]  # x, sill, top, half width (fraction of width)
    cabin_bottom: tuple[float, float]
    cabin_top: tuple[float, float]
    belt: float
    panes: int


SEDAN = CarStyle(
    (
        (-0.5, 0.28, 0.56, 0.42),
        (-0.475, 0.2, 0.62, 0.475),
        (-0.34, 0.15, 0.645, 0.5),
        (0.05, 0.15, 0.62, 0.5),
        (0.24, 0.15, 0.6, 0.5),
        (0.41, 0.17, 0.53, 0.48),
        (0.475, 0.19, 0.47, 0.45),
        (0.5, 0.26, 0.4, 0.38),
    ),
    (-0.37, 0.24),
    (-0.23, 0.07),
    0.6,
    2,
)
HATCH = CarStyle(
    (
        (-0.5, 0.27, 0.5, 0.42),
        (-0.485, 0.18, 0.6, 0.48),
        (-0.3, 0.15, 0.62, 0.5),
        (0.1, 0.15, 0.6, 0.5),
        (0.26, 0.15, 0.58, 0.5),
        (0.43, 0.17, 0.5, 0.47),
        (0.5, 0.24, 0.4, 0.38),
    ),
    (-0.485, 0.28),
    (-0.38, 0.1),
    0.585,
    2,
)
SUV = CarStyle(
    (
        (-0.5, 0.25, 0.55, 0.44),
        (-0.485, 0.2, 0.61, 0.485),
        (-0.3, 0.18, 0.62, 0.5),
        (0.1, 0.18, 0.61, 0.5),
        (0.24, 0.18, 0.6, 0.5),
        (0.44, 0.2, 0.555, 0.48),
        (0.48, 0.2, 0.5, 0.46),
        (0.5, 0.27, 0.44, 0.42),
    ),
    (-0.488, 0.25),
    (-0.43, 0.11),
    0.59,
    3,
)
VAN = CarStyle(
    (
        (-0.5, 0.2, 0.5, 0.46),
        (-0.49, 0.16, 0.52, 0.49),
        (0.0, 0.14, 0.52, 0.5),
        (0.3, 0.14, 0.5, 0.5),
        (0.44, 0.15, 0.44, 0.48),
        (0.5, 0.2, 0.34, 0.42),
    ),
    (-0.49, 0.42),
    (-0.48, 0.22),
    0.49,
    3,
)
WAGON = CarStyle(
    (
        (-0.5, 0.27, 0.52, 0.42),
        (-0.485, 0.18, 0.6, 0.48),
        (-0.2, 0.15, 0.62, 0.5),
        (0.22, 0.15, 0.6, 0.5),
        (0.42, 0.17, 0.53, 0.47),
        (0.5, 0.25, 0.4, 0.38),
    ),
    (-0.48, 0.25),
    (-0.42, 0.09),
    0.59,
    3,
)
CAR_STYLES = ((SEDAN, 0.33), (HATCH, 0.17), (SUV, 0.3), (VAN, 0.12), (WAGON, 0.08))


def body(style: CarStyle, size: Size, colour: Colour) -> Mesh:
    """The painted shell of a car, without its cabin."""
    length, width, height = size
    sections = []
    for x, sill, top, half in style.body:
        mid = sill + 0.55 * (top - sill)
        outline = [(half * 0.9, sill), (half, mid), (half * 0.96, top - 0.02), (half * 0.8, top)]
        outline += [(-y, z) for y, z in reversed(outline)]
        sections.append([(x * length, y * width, z * height) for y, z in outline])
    return loft(np.array(sections), colour, Material.PAINT)


def car_trim(style: CarStyle, size: Size, rng: np.random.Generator) -> list[Mesh]:
    """Wheels, lamps, bumpers, plates, mirrors, door seams and handles of a car."""
    length, width, height = size
    front, rear, half = 0.5 * length, -0.5 * length, width / 2
    lamp_z, wheel_radius = 0.8 * style.body[-2][2] * height, min(0.36, 0.215 * height)
    rim = vary((0.4, 0.41, 0.43), rng, 0.5)
    trim = [
        wheel_pair(front - 0.19 * length, width, wheel_radius, 0.2, rim),
        wheel_pair(rear + 0.2 * length, width, wheel_radius, 0.2, rim),
        lamps(front - 0.035 * length, 0.45 * width, lamp_z, (0.2 * width, 0.07 * height), HEADLAMP),
        lamps(rear + 0.012 * length, 0.47 * width, 0.52 * height, (0.14 * width, 0.1 * height), TAIL_LAMP),
        box((front - 0.01, 0, 0.3 * height), (0.04, 0.5 * width, 0.1 * height), DARK),
        box((rear + 0.01, 0, 0.24 * height), (0.05, 0.8 * width, 0.1 * height), DARK),
        plate(front + 0.005, 0.25 * height),
        plate(rear - 0.005, 0.36 * height),
    ]
    for sign in (-1, 1):
        trim.append(
            box(
                (style.cabin_bottom[1] * length - 0.25, sign * (half - 0.04), (style.belt + 0.05) * height),
                (0.12, 0.16, 0.11),
                DARK,
                Material.PAINT,
            )
        )
        for door in (0.02, -0.2):  # door seams and handles
            trim.append(box((door * length, sign * half * 0.995, 0.42 * height), (0.015, 0.012, 0.3 * height), DARK))
            trim.append(
                box(
                    (door * length + 0.2, sign * half * 0.985, 0.53 * height),
                    (0.16, 0.03, 0.03),
                    CHROME,
                    Material.METAL,
                )
            )
    return trim


def build_car(size: Size, rng: np.random.Generator) -> Mesh:
    """A sedan, hatchback, SUV, van or estate; some are taxis with a roof sign, some carry roof rails."""
    length, width, height = size
    weights = np.array(
        [
            weight
            * (1.0 if style is not VAN or height > 1.75 else 0.1)
            * (1.0 if style is not SEDAN or height < 1.7 else 0.05)
            for style, weight in CAR_STYLES
        ]
    )
    style = CAR_STYLES[rng.choice(len(CAR_STYLES), p=weights / weights.sum())][0]
    colour = paint(rng)
    half = width / 2
    top_half = half * rng.uniform(0.7, 0.78) if style is not VAN else half * 0.86
    bottom = (style.cabin_bottom[0] * length, style.cabin_bottom[1] * length, -half * 0.93, half * 0.93)
    top = (style.cabin_top[0] * length, style.cabin_top[1] * length, -top_half, top_half)
    parts = [body(style, size, colour), cabin(bottom, top, (style.belt * height, 0.98 * height), colour, style.panes)]
    parts.append(
        frustum(
            (top[0], top[1], top[2], top[3]),
            (top[0] + 0.1, top[1] - 0.1, top[2] + 0.1, top[3] - 0.1),
            (0.98 * height, height),
            colour,
            Material.PAINT,
        )
    )
    parts += car_trim(style, size, rng)
    extra = rng.random()
    if extra < 0.06:
        parts.append(box((0, 0, height + 0.07), (0.3, 0.7, 0.14), (0.8, 0.6, 0.1), Material.LIGHT))
    elif extra < 0.3 and style in (SUV, WAGON):
        parts += [
            box(
                (np.mean(top[:2]), sign * top_half * 0.9, height + 0.03),
                (0.8 * (top[1] - top[0]), 0.04, 0.05),
                CHROME,
                Material.METAL,
            )
            for sign in (-1, 1)
        ]
    return join(parts).fitted(size)
