"""Geometry of pedestrians, bicycles and motorcycles, with or without a rider. Each mesh fills exactly its box, x
forward.
"""

import numpy as np

from kd_synthetic.assets.mesh import Colour, Material, Mesh, Size, box, ellipsoid, frustum, join, tube
from kd_synthetic.assets.parts import CHROME, DARK, HEADLAMP, RUBBER, TAIL_LAMP, bright, vary

_SKIN: tuple[Colour, ...] = ((0.55, 0.36, 0.26), (0.42, 0.25, 0.16), (0.2, 0.1, 0.06), (0.62, 0.44, 0.34))
_HAIR: tuple[Colour, ...] = ((0.02, 0.015, 0.01), (0.08, 0.04, 0.02), (0.3, 0.2, 0.08), (0.35, 0.34, 0.33))
_TROUSERS: tuple[Colour, ...] = (
    (0.03, 0.04, 0.09),
    (0.02, 0.02, 0.02),
    (0.15, 0.12, 0.08),
    (0.1, 0.14, 0.25),
    (0.25, 0.24, 0.22),
)
HIGH_VISIBILITY: Colour = (0.75, 0.45, 0.02)


def _pick(options: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return vary(options[rng.integers(len(options))], rng)


def build_pedestrian(
    size: Size, rng: np.random.Generator, phase: float, pose: str = "walking", *, worker: bool = False
) -> Mesh:
    """A person: legs, torso, arms, head and hair, sometimes a bag. `phase` (rad) swings the limbs; pose 'walking',
    'standing' or 'sitting'.
    """
    skin, hair, trousers = _pick(_SKIN, rng), _pick(_HAIR, rng), _pick(_TROUSERS, rng)
    top = HIGH_VISIBILITY if worker else bright(rng)
    swing = {"walking": 0.24 * np.sin(phase), "standing": 0.02, "sitting": 0.0}[pose]
    hip, shoulder, parts = 0.47, 0.82, []
    if pose == "sitting":
        hip = 0.3
        shoulder = 0.72
        for side in (-0.06, 0.06):
            parts += [
                tube((0, side, hip), (0.24, side, hip), 0.045, trousers, sides=6),
                tube((0.24, side, hip), (0.26, side, 0.02), 0.035, trousers, sides=6),
            ]
    else:
        for side, sign in ((-0.055, 1.0), (0.055, -1.0)):
            foot = (sign * swing, side, 0.03)
            knee = (sign * swing * 0.45 + 0.02, side, 0.26)
            parts += [
                tube((0, side, hip), knee, (0.055, 0.042), trousers, sides=6),
                tube(knee, foot, (0.042, 0.03), trousers, sides=6),
                box((foot[0] + 0.03, side, 0.02), (0.14, 0.055, 0.04), DARK),
            ]
    parts.append(tube((0, 0, hip), (0.01, 0, shoulder), (0.09, 0.115), top, sides=8).scaled((0.8, 1.1, 1)))
    parts.append(ellipsoid((0.01, 0, shoulder), (0.08, 0.14, 0.035), top, sides=8, rings=4))
    for side, sign in ((-0.145, -1.0), (0.145, 1.0)):
        elbow = (sign * swing * 0.5, side, shoulder - 0.17)
        hand = (sign * swing * 0.9 + 0.04, side, shoulder - 0.33)
        parts += [
            tube((0, side * 0.92, shoulder), elbow, (0.035, 0.03), top, sides=6),
            tube(elbow, hand, (0.03, 0.022), skin if rng.random() < 0.4 else top, sides=6),
        ]
    head = shoulder + 0.11
    parts += [
        tube((0.01, 0, shoulder), (0.01, 0, head), 0.03, skin, sides=6),
        ellipsoid((0.02, 0, head), (0.055, 0.045, 0.065), skin, sides=8, rings=6),
    ]
    parts.append(
        ellipsoid((0.005, 0, head + 0.02), (0.058, 0.05, 0.055), (0.8, 0.7, 0.05) if worker else hair, sides=8, rings=5)
    )
    if worker:
        parts.append(box((0.01, 0, hip + 0.2), (0.2, 0.26, 0.03), (0.8, 0.8, 0.8), Material.RETRO))
    elif rng.random() < 0.35:
        parts.append(box((-0.11, 0, shoulder - 0.14), (0.1, 0.17, 0.24), bright(rng)))
    mesh = join(parts)
    return mesh.fitted(size) if pose == "sitting" else _fitted_walker(mesh, size)


def _fitted_walker(mesh: Mesh, size: Size) -> Mesh:
    """Scaled by height and width; the stride then keeps its own length, at most the box's."""
    points = mesh.vertices.reshape(-1, 3)
    extent = points.max(0) - points.min(0)
    return mesh.fitted((min(size[0], extent[0] * size[2] / extent[2]), size[1], size[2]))


def _wheel(x: float, radius: float, thickness: float, spokes: int) -> list[Mesh]:
    angle = np.linspace(0, 2 * np.pi, 15)
    rim = [(x + radius * np.cos(a), 0.0, radius + radius * np.sin(a)) for a in angle]
    parts = [tube(a, b, thickness, RUBBER, sides=4, caps=False) for a, b in zip(rim[:-1], rim[1:], strict=True)]
    for a in np.arange(spokes) * np.pi / spokes:
        d = np.array([np.cos(a), 0, np.sin(a)]) * radius
        parts.append(
            tube(
                np.array([x, 0, radius]) - d,
                np.array([x, 0, radius]) + d,
                0.006,
                CHROME,
                Material.METAL,
                sides=4,
                caps=False,
            )
        )
    return parts


def _rider(
    rng: np.random.Generator,
    *,
    seat: tuple[float, float],
    bars: tuple[float, float],
    pedal: float,
    phase: float,
    helmet: bool,
) -> list[Mesh]:
    """A seated person: (x, z) of seat and handlebars, height of the pedals or footrests."""
    skin, trousers, top = _pick(_SKIN, rng), _pick(_TROUSERS, rng), bright(rng)
    hip, shoulder = np.array([seat[0], 0, seat[1] + 0.1]), np.array([seat[0] + 0.22, 0, seat[1] + 0.58])
    parts = [
        tube(hip, shoulder, (0.14, 0.17), top, sides=8),
        ellipsoid(shoulder, (0.12, 0.2, 0.09), top, sides=8, rings=4),
    ]
    for sign in (-1, 1):
        foot = np.array(
            [seat[0] + 0.3 + 0.1 * np.sin(phase) * sign, sign * 0.12, pedal + 0.1 + 0.1 * np.cos(phase) * sign]
        )
        knee = np.array([seat[0] + 0.42, sign * 0.13, (seat[1] + foot[2]) / 2 + 0.12])
        parts += [
            tube(hip + (0, sign * 0.09, 0), knee, (0.09, 0.065), trousers, sides=6),
            tube(knee, foot, (0.065, 0.045), trousers, sides=6),
            box(foot + (0.05, 0, -0.03), (0.25, 0.09, 0.07), DARK),
        ]
        hand = np.array([bars[0], sign * 0.24, bars[1]])
        elbow = (shoulder + hand) / 2 + (0, sign * 0.08, -0.08)
        parts += [
            tube(shoulder + (0, sign * 0.17, 0), elbow, 0.05, top, sides=6),
            tube(elbow, hand, 0.04, skin, sides=6),
        ]
    head = shoulder + (0.07, 0, 0.22)
    parts.append(ellipsoid(head, (0.1, 0.08, 0.12), skin, sides=8, rings=6))
    parts.append(
        ellipsoid(
            head + (-0.01, 0, 0.03),
            (0.125, 0.11, 0.11),
            bright(rng) if helmet else _pick(_HAIR, rng),
            Material.PAINT if helmet else Material.MATTE,
            sides=8,
            rings=5,
        )
    )
    return parts


def build_bicycle(size: Size, rng: np.random.Generator, phase: float = 0.0, *, rider: bool) -> Mesh:
    """A bicycle: spoked wheels, diamond frame, saddle, bars; with its rider when it has one."""
    colour, r = bright(rng), 0.34
    crank, seat, head = (-0.08, 0, 0.32), (-0.22, 0, 0.92), (0.34, 0, 0.88)
    bars = [
        ((-0.52, 0, r), crank),
        (crank, seat),
        (seat, head),
        (crank, (0.36, 0, 0.72)),
        ((-0.52, 0, r), (-0.19, 0, 0.8)),
        ((0.52, 0, r), head),
    ]
    parts = (
        _wheel(-0.52, r, 0.022, 4)
        + _wheel(0.52, r, 0.022, 4)
        + [tube(a, b, 0.022, colour, Material.PAINT, sides=6) for a, b in bars]
    )
    parts += [
        box((-0.24, 0, 0.96), (0.26, 0.15, 0.06), DARK),
        tube((0.34, 0, 0.86), (0.36, 0, 1.03), 0.018, DARK, sides=6),
        tube((0.38, -0.3, 1.04), (0.38, 0.3, 1.04), 0.018, DARK, sides=6),
        tube((-0.08, -0.12, 0.32), (-0.08, 0.12, 0.32), 0.05, DARK, sides=8),
    ]
    if rng.random() < 0.4:
        parts.append(frustum((0.4, 0.6, -0.14, 0.14), (0.38, 0.68, -0.18, 0.18), (0.78, 1.0), (0.2, 0.15, 0.1)))
    if rider:
        parts += _rider(rng, seat=(-0.22, 0.96), bars=(0.38, 1.06), pedal=0.22, phase=phase, helmet=rng.random() < 0.6)
    return join(parts).fitted(size)


def build_motorcycle(size: Size, rng: np.random.Generator, *, rider: bool, scooter: bool = False) -> Mesh:
    """A motorcycle or scooter: fat wheels, engine, tank, seat, fork, lamps; with its rider when it has one."""
    colour, r = bright(rng), 0.3
    parts = []
    for x in (-0.62, 0.66):
        parts += [
            tube((x, -0.07, r), (x, 0.07, r), r, RUBBER, sides=14),
            tube((x, -0.09, r), (x, 0.09, r), 0.55 * r, CHROME, Material.METAL, sides=10),
        ]
    parts += [
        frustum((-0.3, 0.28, -0.17, 0.17), (-0.25, 0.3, -0.14, 0.14), (0.22, 0.6), (0.12, 0.12, 0.13), Material.METAL),
        ellipsoid((0.15, 0, 0.75), (0.3, 0.17, 0.16), colour, Material.PAINT),
        frustum((-0.7, 0.0, -0.13, 0.13), (-0.78, 0.0, -0.11, 0.11), (0.66, 0.78), DARK),
        tube((0.66, -0.1, r), (0.4, -0.1, 0.98), 0.035, CHROME, Material.METAL, sides=6),
        tube((0.66, 0.1, r), (0.4, 0.1, 0.98), 0.035, CHROME, Material.METAL, sides=6),
        tube((0.36, -0.38, 1.02), (0.36, 0.38, 1.02), 0.025, DARK, sides=6),
        ellipsoid((0.54, 0, 0.86), (0.09, 0.1, 0.1), HEADLAMP, Material.LIGHT, sides=8, rings=4),
        box((-0.82, 0, 0.68), (0.06, 0.16, 0.08), TAIL_LAMP, Material.LIGHT),
        tube((-0.2, -0.2, 0.3), (-0.85, -0.22, 0.38), 0.05, CHROME, Material.METAL, sides=6),
        frustum((-0.85, -0.4, -0.1, 0.1), (-0.9, -0.3, -0.12, 0.12), (0.58, 0.68), colour, Material.PAINT),
    ]
    if scooter:
        parts += [
            frustum((0.28, 0.36, -0.24, 0.24), (0.4, 0.46, -0.2, 0.2), (0.25, 0.95), colour, Material.PAINT),
            box((0.08, 0, 0.26), (0.45, 0.36, 0.06), DARK),
            box((-0.68, 0, 0.95), (0.36, 0.38, 0.34), bright(rng))
            if rng.random() < 0.5
            else box((-0.6, 0, 0.82), (0.3, 0.25, 0.04), CHROME),
        ]
    if rider:
        parts += _rider(rng, seat=(-0.3, 0.72), bars=(0.34, 1.05), pedal=0.28, phase=0.0, helmet=True)
    return join(parts).fitted(size)
