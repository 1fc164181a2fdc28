"""Parts that several kinds of vehicle share: wheels, glazed cabins, lamps, plates, and the colours they come in."""

import numpy as np

from kd_synthetic.assets.mesh import Colour, Material, Mesh, box, frustum_corners, hexahedron, join, quads, tube

RUBBER: Colour = (0.02, 0.02, 0.022)
DARK: Colour = (0.04, 0.04, 0.045)
RIM: Colour = (0.45, 0.46, 0.48)
GLASS: Colour = (0.015, 0.02, 0.022)
CHROME: Colour = (0.6, 0.6, 0.62)
HEADLAMP: Colour = (0.85, 0.88, 0.9)
TAIL_LAMP: Colour = (0.55, 0.02, 0.02)
AMBER: Colour = (0.8, 0.3, 0.02)
PLATE: Colour = (0.75, 0.75, 0.7)

# Linear reflectances of common car paints, with how common they are (white, black, grey and silver lead on real roads).
_PAINTS: tuple[tuple[Colour, float], ...] = (
    ((0.75, 0.76, 0.76), 0.20),
    ((0.02, 0.02, 0.022), 0.16),
    ((0.10, 0.105, 0.11), 0.12),
    ((0.38, 0.39, 0.40), 0.13),
    ((0.20, 0.21, 0.22), 0.08),
    ((0.32, 0.015, 0.015), 0.07),
    ((0.02, 0.05, 0.22), 0.07),
    ((0.06, 0.17, 0.42), 0.04),
    ((0.01, 0.09, 0.05), 0.03),
    ((0.30, 0.22, 0.12), 0.03),
    ((0.60, 0.20, 0.02), 0.02),
    ((0.65, 0.48, 0.03), 0.02),
    ((0.10, 0.05, 0.03), 0.02),
    ((0.25, 0.35, 0.30), 0.01),
)


def paint(rng: np.random.Generator) -> Colour:
    """A car paint, slightly varied."""
    weights = np.array([weight for _, weight in _PAINTS])
    colour = np.array(_PAINTS[rng.choice(len(_PAINTS), p=weights / weights.sum())][0])
    return vary(tuple(colour), rng, 0.12)


def vary(colour: Colour, rng: np.random.Generator, amount: float = 0.15) -> Colour:
    """The colour, brighter or darker and slightly shifted in hue."""
    factor = np.exp(amount * rng.standard_normal() + 0.3 * amount * rng.standard_normal(3))
    return tuple(np.clip(np.array(colour) * factor, 0.005, 0.9).tolist())


def bright(rng: np.random.Generator) -> Colour:
    """A saturated colour: clothes, lorry bodies, tarpaulins."""
    hue, saturation, value = rng.random() * 6, rng.uniform(0.2, 0.9), rng.uniform(0.06, 0.7)
    channel = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    return tuple((value * (1 - saturation * (1 - channel))).tolist())


def wheel(x: float, y: float, radius: float, width: float, rim: Colour) -> Mesh:
    """A tyre standing on the ground at (x, y), its outer face towards the sign of y, with a lighter rim and hub."""
    out = np.sign(y) or 1.0
    outer = y + out * width / 2
    return join(
        [
            tube((x, y - out * width / 2, radius), (x, outer, radius), radius, RUBBER, sides=12),
            tube((x, outer, radius), (x, outer + out * 0.01, radius), radius * 0.62, rim, Material.METAL, sides=12),
            tube((x, outer, radius), (x, outer + out * 0.02, radius), radius * 0.2, DARK, sides=6),
        ]
    )


def wheel_pair(x: float, track: float, radius: float, width: float, rim: Colour = RIM) -> Mesh:
    """Two wheels whose outer faces are `track` apart, under dark arches."""
    y = track / 2 - width / 2 + 0.015  # tyres stand proud of the arches, these of the body: no two faces coincide
    arches = [
        tube((x, s * (track / 2 - 0.06), radius), (x, s * (track / 2 + 0.005), radius), radius * 1.18, DARK, sides=14)
        for s in (-1, 1)
    ]
    return join([wheel(x, y, radius, width, rim), wheel(x, -y, radius, width, rim), *arches])


def pane(corners: np.ndarray, u: tuple[float, float], v: tuple[float, float], lift: float = 0.008) -> Mesh:
    """Glass inset in a face: corners (4, 3) bottom-left, bottom-right, top-right, top-left; u, v its extent in [0, 1];
    lifted outwards.
    """
    corners = np.asarray(corners, np.float64)

    def at(a: float, b: float) -> np.ndarray:
        return (1 - b) * ((1 - a) * corners[0] + a * corners[1]) + b * ((1 - a) * corners[3] + a * corners[2])

    normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
    normal /= np.linalg.norm(normal)
    inset = np.array([at(u[0], v[0]), at(u[1], v[0]), at(u[1], v[1]), at(u[0], v[1])])
    return quads(inset + lift * normal, GLASS, Material.GLASS)


def cabin(
    bottom: tuple,
    top: tuple,
    z: tuple[float, float],
    colour: Colour,
    side_panes: int,
    *,
    blind_rear: bool = False,
    pillar: float = 0.05,
) -> Mesh:
    """A glazed cabin: painted frustum with windscreen, rear window and side panes split by pillars."""
    corners = frustum_corners(bottom, top, z)
    right, front, left, rear = (
        corners[list(index)] for index in ((0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))
    )
    parts = [hexahedron(corners, colour, Material.PAINT), pane(front, (0.05, 0.95), (0.06, 0.94))]
    if not blind_rear:
        parts.append(pane(rear, (0.08, 0.92), (0.12, 0.9)))
    edges = np.linspace(0, 1, side_panes + 1)
    for face in (right, left):
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            parts.append(pane(face, (low + pillar * 0.7, high - pillar * 0.7), (0.06, 0.88)))
    return join(parts)


def lamps(x: float, half_width: float, z: float, size: tuple[float, float], colour: Colour) -> Mesh:
    """Two lamps at the corners of a front (x > 0) or rear face."""
    width, height = size
    y = half_width - width / 2
    return join([box((x, sign * y, z), (0.05, width, height), colour, Material.LIGHT) for sign in (-1, 1)])


def plate(x: float, z: float) -> Mesh:
    """A licence plate: retro-reflective."""
    return box((x, 0, z), (0.02, 0.5, 0.12), PLATE, Material.RETRO)
