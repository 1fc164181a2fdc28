"""Single things that stand next to the road and are not annotated: trees, palms, lamps, traffic lights, signs, benches,
bins. Each stands on the origin of its axes.
"""

import numpy as np

from kd_synthetic.assets.mesh import Colour, Material, Mesh, box, ellipsoid, join, quads, tube
from kd_synthetic.assets.parts import vary

STEEL: Colour = (0.22, 0.23, 0.24)
LAMP_REACH, LAMP_HEIGHT = 1.8, 8.09  # of a street lamp's light from its post, metres


def tree(rng: np.random.Generator) -> Mesh:
    """A broad-leaved tree, or a conifer."""
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


def palm(rng: np.random.Generator) -> Mesh:
    """A palm: a leaning trunk under a crown of hanging fronds."""
    height, green = rng.uniform(5.0, 9.0), vary((0.06, 0.1, 0.025), rng, 0.25)
    lean = rng.normal(0, 0.35, 2)
    top = np.array((*lean, height))
    bend = np.array((*(0.25 * lean), 0.5 * height))
    bark: Colour = (0.16, 0.12, 0.08)
    parts = [
        tube((0, 0, 0), bend, (0.19, 0.14), bark, sides=7, caps=False),
        tube(bend, top, (0.14, 0.11), bark, sides=7, caps=False),
    ]
    for angle in np.arange(13) * 2 * np.pi / 13 + rng.normal(0, 0.1, 13):
        out = np.array((np.cos(angle), np.sin(angle), 0.0))
        side = 0.26 * np.array((-np.sin(angle), np.cos(angle), 0.0))
        rise, reach = rng.uniform(0.3, 0.9), rng.uniform(1.7, 2.4)
        spine = [top, top + 0.5 * reach * out + (0, 0, rise), top + reach * out - (0, 0, rng.uniform(0.3, 1.3))]
        for first, second, narrow in ((spine[0], spine[1], 1.0), (spine[1], spine[2], 0.15)):
            for flank in (side, -side):  # two halves that hang from the spine
                low = np.array((0, 0, 0.14))
                edge = [first, second, second + narrow * flank - narrow * low, first + flank - low]
                parts.append(quads(np.array([edge]), green, Material.FOLIAGE))
    return join(parts)


def lamp_post(reach: float) -> Mesh:
    """A street lamp whose arm reaches along x."""
    return join(
        [
            tube((0, 0, 0), (0, 0, 8.0), (0.11, 0.06), STEEL, Material.METAL, sides=7),
            tube((0, 0, 7.9), (reach, 0, 8.2), 0.05, STEEL, Material.METAL, sides=5),
            box((reach, 0, 8.15), (0.7, 0.25, 0.12), (0.5, 0.5, 0.48)),
        ]
    )


def traffic_light(reach: float) -> Mesh:
    """Signals on a post and at the end of an arm along x."""
    parts = [
        tube((0, 0, 0), (0, 0, 5.6), (0.1, 0.08), STEEL, Material.METAL, sides=7),
        tube((0, 0, 5.5), (reach, 0, 5.6), 0.06, STEEL, Material.METAL, sides=6),
    ]
    for x, z in ((reach, 5.3), (0.0, 3.0)):
        parts.append(box((x, 0, z), (0.36, 0.3, 0.95), (0.03, 0.03, 0.03)))
        for i, colour in enumerate(((0.05, 0.5, 0.2), (0.12, 0.1, 0.02), (0.1, 0.02, 0.02))):
            parts.append(box((x, 0, z - 0.3 + 0.3 * i), (0.2, 0.34, 0.2), colour, Material.LIGHT))
    return join(parts)


def sign(rng: np.random.Generator) -> Mesh:
    """A traffic sign that faces along x."""
    colour = ((0.02, 0.08, 0.4), (0.5, 0.02, 0.02), (0.7, 0.7, 0.7), (0.7, 0.5, 0.02), (0.02, 0.2, 0.08))[
        rng.integers(5)
    ]
    plate = tube((0.04, 0, 2.5), (0.07, 0, 2.5), 0.36, colour, Material.RETRO, sides=16 if rng.random() < 0.5 else 4)
    return join([tube((0, 0, 0), (0, 0, 2.9), 0.035, STEEL, Material.METAL, sides=6), plate])


def furniture(rng: np.random.Generator) -> Mesh:
    """A bench, bin, hydrant, switch box or bollard."""
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
