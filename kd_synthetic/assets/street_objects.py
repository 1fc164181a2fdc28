"""Geometry of traffic cones and temporary barriers. Each mesh fills exactly its box (l, w, h) standing on z = 0."""

import numpy as np

from kd_synthetic.assets.mesh import Colour, Material, Mesh, Size, box, frustum, join, tube

ORANGE: Colour = (0.72, 0.14, 0.015)
WHITE: Colour = (0.75, 0.75, 0.73)


def build_traffic_cone(size: Size, rng: np.random.Generator) -> Mesh:
    """A cone with reflective bands on a square foot, or (when tall) a drum."""
    if size[2] > 0.98:
        levels, base = np.linspace(0.05, 1.0, 6), 0.42
        bands = [
            tube(
                (0, 0, a),
                (0, 0, b),
                base,
                WHITE if i % 2 else ORANGE,
                Material.RETRO if i % 2 else Material.MATTE,
                sides=12,
            )
            for i, (a, b) in enumerate(zip(levels[:-1], levels[1:], strict=True))
        ]
        return join([*bands, tube((0, 0, 0), (0, 0, 0.06), 0.5, (0.03, 0.03, 0.03), sides=12)]).fitted(size)
    radius = lambda z: 0.34 * (1 - z) + 0.06 * z  # noqa: E731 - the cone's outline, used four times below
    stops = [(0.05, 0.35, ORANGE), (0.35, 0.55, WHITE), (0.55, 0.7, ORANGE), (0.7, 0.82, WHITE), (0.82, 1.0, ORANGE)]
    cone = [
        tube(
            (0, 0, a),
            (0, 0, b),
            (radius(a), radius(b)),
            colour,
            Material.RETRO if colour is WHITE else Material.MATTE,
            sides=12,
        )
        for a, b, colour in stops
    ]
    return join([*cone, box((0, 0, 0.03), (1, 1, 0.06), (0.03, 0.03, 0.03) if rng.random() < 0.6 else ORANGE)]).fitted(
        size
    )


def build_barrier(size: Size, style: int) -> Mesh:
    """A concrete (0) or water-filled plastic (1) barrier, or a striped board on feet (2). Its long side is the
    WIDTH, as in nuScenes.
    """
    length, width, height = size
    half_l, half_w = length / 2, width / 2
    if style == 2:
        feet = [box((0, y * half_w * 0.8, 0.06), (length, 0.12, 0.12), (0.05, 0.05, 0.05)) for y in (-1, 1)]
        posts = [box((0, y * half_w * 0.8, height / 2), (0.06, 0.06, height), WHITE, Material.METAL) for y in (-1, 1)]
        stripes = [
            box(
                (0, y, z * height),
                (0.05, width / 9, 0.2),
                WHITE if (i + row) % 2 else (0.6, 0.03, 0.02),
                Material.RETRO,
            )
            for row, z in enumerate((0.55, 0.88))
            for i, y in enumerate((np.arange(9) - 4) * width / 9)
        ]
        return join([*feet, *posts, *stripes]).fitted(size)
    colour = (0.42, 0.41, 0.39) if style == 0 else ORANGE
    foot = frustum((-half_l, half_l, -half_w, half_w), (-half_l, half_l, -half_w, half_w), (0, 0.18 * height), colour)
    wedge = frustum(
        (-half_l, half_l, -half_w, half_w),
        (-half_l * 0.45, half_l * 0.45, -half_w, half_w),
        (0.18 * height, 0.45 * height),
        colour,
    )
    wall = frustum(
        (-half_l * 0.45, half_l * 0.45, -half_w, half_w),
        (-half_l * 0.3, half_l * 0.3, -half_w, half_w),
        (0.45 * height, height),
        colour,
    )
    marks = (
        [box((0, y * width, 0.7 * height), (length * 0.5, 0.2, 0.12), WHITE, Material.RETRO) for y in (-0.3, 0.0, 0.3)]
        if style == 1
        else []
    )
    return join([foot, wedge, wall, *marks]).fitted(size)
