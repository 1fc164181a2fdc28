"""Triangle meshes of the synthetic world and the primitives its objects are built from.

Triangles are stored unshared (vertex data per corner): meshes are small, and concatenating or moving them is one
array operation. Local axes follow REP-103: x forward, y left, z up, ground at z = 0. All lengths in metres.

trimesh would not make this shorter: it has no materials, facade layers and corner normals per triangle, and would be a
further dependency (embreex needs NumPy alone).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

Colour = tuple[float, float, float]  # linear reflectance in [0, 1]
Vector = Sequence[float]
Size = tuple[float, float, float]  # l, w, h of a box


class Material(IntEnum):
    """How a surface is shaded in the cameras and reflects the LiDAR."""

    MATTE = 0
    PAINT = 1  # clear coat over colour: reflects the sky at grazing angles
    GLASS = 2
    GROUND = 3  # looked up in the ground map by world x, y
    FACADE = 4  # looked up in the facade atlas by uv and layer
    LIGHT = 5  # emits its own colour
    RETRO = 6  # retro-reflective: bright to the LiDAR
    FOLIAGE = 7
    METAL = 8


@dataclass(frozen=True)
class Mesh:
    """T triangles: vertices and normals (T, 3, 3), colour (T, 3), material (T,), uv (T, 3, 2) in texture tiles,
    layer (T,).
    """

    vertices: np.ndarray
    normals: np.ndarray
    colour: np.ndarray
    material: np.ndarray
    uv: np.ndarray
    layer: np.ndarray

    def __len__(self) -> int:
        return len(self.material)

    def moved(self, x: float, y: float, yaw: float, z: float = 0.0) -> "Mesh":
        """Turned by `yaw` about the z axis, then shifted."""
        shift = np.array([x, y, z], np.float32)
        return replace(self, vertices=turned(self.vertices, yaw) + shift, normals=turned(self.normals, yaw))

    def scaled(self, factors: Vector) -> "Mesh":
        """Stretched along the axes about the origin (normals follow the inverse stretch)."""
        factors = np.asarray(factors, np.float32)
        normals = self.normals / factors
        normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
        return replace(self, vertices=self.vertices * factors, normals=normals)

    def fitted(self, size: Vector) -> "Mesh":
        """Stretched and shifted so that it fills exactly a box of `size` (l, w, h) standing on z = 0, centred in x
        and y.
        """
        points = self.vertices.reshape(-1, 3)
        low, high = points.min(0), points.max(0)
        centre = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
        return replace(self, vertices=self.vertices - centre).scaled(np.asarray(size) / (high - low))


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of vectors (..., 3): the bits of np.cross, which takes several times as long for a few rows."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    out = np.empty(a.shape, np.result_type(a, b))
    out[..., 0], out[..., 1], out[..., 2] = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return out


def turned(vectors: np.ndarray, yaw: float) -> np.ndarray:
    """Vectors (..., 3) float32 turned about the z axis: the bits of a matrix product, which numpy takes longer for."""
    cos, sin = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
    x, y = vectors[..., 0], vectors[..., 1]
    out = np.empty_like(vectors)
    out[..., 0], out[..., 1], out[..., 2] = x * cos - y * sin, x * sin + y * cos, vectors[..., 2]
    return out


def join(parts: Sequence[Mesh]) -> Mesh:
    """All triangles of `parts`, in order."""
    if not parts:
        return from_triangles(np.zeros((0, 3, 3)), (0, 0, 0))
    names = ("vertices", "normals", "colour", "material", "uv", "layer")
    return Mesh(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def from_triangles(
    vertices: np.ndarray,
    colour: Colour | np.ndarray,
    material: Material = Material.MATTE,
    *,
    normals: np.ndarray | None = None,
    uv: np.ndarray | None = None,
    layer: int = 0,
) -> Mesh:
    """A mesh of triangles (T, 3, 3) of one colour and material; flat normals unless given."""
    vertices = np.asarray(vertices, np.float32)
    count = len(vertices)
    if normals is None:
        flat = cross(vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0])
        flat /= np.linalg.norm(flat, axis=-1, keepdims=True) + 1e-12
        normals = np.repeat(flat[:, None], 3, axis=1)
    return Mesh(
        vertices,
        np.asarray(normals, np.float32),
        np.broadcast_to(np.asarray(colour, np.float32), (count, 3)).copy(),
        np.full(count, material, np.uint8),
        np.zeros((count, 3, 2), np.float32) if uv is None else np.asarray(uv, np.float32),
        np.full(count, layer, np.uint8),
    )


def quads(corners: np.ndarray, colour: Colour, material: Material = Material.MATTE) -> Mesh:
    """Quadrilaterals (Q, 4, 3), corners counter-clockwise seen from outside."""
    corners = np.asarray(corners, np.float32).reshape(-1, 4, 3)
    return from_triangles(corners[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 3), colour, material)


def textured_quads(corners: np.ndarray, uv: np.ndarray, colour: Colour, layer: int) -> Mesh:
    """Quadrilaterals (Q, 4, 3) with texture coordinates (Q, 4, 2) in tiles of facade `layer`."""
    index = [[0, 1, 2], [0, 2, 3]]
    corners, uv = np.asarray(corners, np.float32).reshape(-1, 4, 3), np.asarray(uv, np.float32).reshape(-1, 4, 2)
    triangles, uv = corners[:, index].reshape(-1, 3, 3), uv[:, index].reshape(-1, 3, 2)
    return from_triangles(triangles, colour, Material.FACADE, uv=uv, layer=layer)


_HEXAHEDRON_FACES = ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7))


def hexahedron(corners: np.ndarray, colour: Colour, material: Material = Material.MATTE) -> Mesh:
    """Six quads over eight corners (8, 3): 0-3 the bottom counter-clockwise seen from above, 4-7 the top likewise."""
    return quads(np.asarray(corners, np.float32)[list(_HEXAHEDRON_FACES)], colour, material)


def frustum_corners(bottom: Vector, top: Vector, z: tuple[float, float]) -> np.ndarray:
    """Corners (8, 3) between two rectangles given as (x0, x1, y0, y1) at the two heights."""
    rows = []
    for (x0, x1, y0, y1), height in zip((bottom, top), z, strict=True):
        rows += [(x0, y0, height), (x1, y0, height), (x1, y1, height), (x0, y1, height)]
    return np.array(rows, np.float32)


def frustum(
    bottom: Vector, top: Vector, z: tuple[float, float], colour: Colour, material: Material = Material.MATTE
) -> Mesh:
    """A box with a smaller or shifted top: rectangles (x0, x1, y0, y1) at heights `z`."""
    return hexahedron(frustum_corners(bottom, top, z), colour, material)


def box(centre: Vector, size: Vector, colour: Colour, material: Material = Material.MATTE) -> Mesh:
    """An upright box."""
    length, width, height = (value / 2 for value in size)
    mesh = frustum(
        (-length, length, -width, width), (-length, length, -width, width), (-height, height), colour, material
    )
    return mesh.moved(centre[0], centre[1], 0.0, centre[2])


def tube(
    start: Vector,
    end: Vector,
    radius: float | tuple[float, float],
    colour: Colour,
    material: Material = Material.MATTE,
    *,
    sides: int = 8,
    caps: bool = True,
) -> Mesh:
    """A round bar or cone between two points, smooth around, with optional flat ends."""
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    r0, r1 = (radius, radius) if np.isscalar(radius) else radius
    axis = (end - start) / np.linalg.norm(end - start)
    side = cross(axis, np.array((0.0, 0.0, 1.0) if abs(axis[2]) < 0.9 else (1.0, 0.0, 0.0)))
    side /= np.linalg.norm(side)
    other = cross(axis, side)
    angle = np.arange(sides) * 2 * np.pi / sides
    ring = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * other
    ring1, low, high = np.roll(ring, -1, 0), start + r0 * ring, end + r1 * ring
    low1, high1 = np.roll(low, -1, 0), np.roll(high, -1, 0)
    vertices = np.concatenate([np.stack([low, low1, high1], 1), np.stack([low, high1, high], 1)])
    normals = np.concatenate([np.stack([ring, ring1, ring1], 1), np.stack([ring, ring1, ring], 1)])
    parts = [from_triangles(vertices, colour, material, normals=normals)]
    if caps:
        for centre, rim, rim1, radius_ in ((start, low1, low, r0), (end, high, high1, r1)):
            if radius_ > 1e-3:
                parts.append(
                    from_triangles(np.stack([np.broadcast_to(centre, rim.shape), rim, rim1], 1), colour, material)
                )
    return join(parts)


def ellipsoid(
    centre: Vector,
    radii: Vector,
    colour: Colour,
    material: Material = Material.MATTE,
    *,
    sides: int = 8,
    rings: int = 5,
) -> Mesh:
    """A smooth ellipsoid, axes along x, y, z."""
    theta = np.linspace(0, np.pi, rings + 1)[:, None]
    phi = (np.arange(sides + 1) * 2 * np.pi / sides)[None]
    unit = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta) + 0 * phi], -1)
    a, b, c, d = unit[:-1, :-1], unit[1:, :-1], unit[1:, 1:], unit[:-1, 1:]
    triangles = [np.stack([a, b, c], 2).reshape(-1, 3, 3), np.stack([a, c, d], 2)[1:].reshape(-1, 3, 3)]
    unit_triangles = np.concatenate(triangles)
    edges = unit_triangles[:, 1:] - unit_triangles[:, :1]
    unit_triangles = unit_triangles[
        np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1) > 1e-6
    ]  # poles have none
    radii = np.asarray(radii, np.float64)
    normals = unit_triangles / radii
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return from_triangles(unit_triangles * radii + np.asarray(centre), colour, material, normals=normals)


def loft(sections: np.ndarray, colour: Colour, material: Material = Material.MATTE) -> Mesh:
    """A skin over S cross-sections (S, P, 3) of P points each (counter-clockwise seen from the front), with flat
    ends.
    """
    sections = np.asarray(sections, np.float32)
    nxt = np.roll(sections, -1, axis=1)
    sides = np.stack([sections[:-1], sections[1:], nxt[1:], nxt[:-1]], axis=2).reshape(-1, 4, 3)
    parts = [quads(sides, colour, material)]
    for section, flip in ((sections[0], True), (sections[-1], False)):
        centre = np.broadcast_to(section.mean(0), section.shape)
        pair = (np.roll(section, -1, 0), section) if flip else (section, np.roll(section, -1, 0))
        parts.append(from_triangles(np.stack([centre, *pair], 1), colour, material))
    return join(parts)
