"""Lamps after sunset: street lamps, head and tail lamps, lit windows; where they are and how much light they throw.

A lamp is a point with an intensity that depends on the direction; light falls off with the squared distance and with
the cosine at the surface (Lambert), and what stands in between throws a shadow. Each cell of a grid around the ego
knows the few lamps that matter there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from kd_synthetic.assets.mesh import Material, Mesh
from kd_synthetic.assets.parts import HEADLAMP, TAIL_LAMP
from kd_synthetic.rendering.light import Lighting
from kd_synthetic.streets.actors import Actor

STREET, HEAD, TAIL = 0, 1, 2
STREET_LAYER = 255  # marks the triangles of street lamps' light
STREET_POWER, HEAD_POWER, TAIL_POWER = 34.0, 800.0, 0.7  # intensities at a Lighting's lamp_scale of 1
REACH = 75.0  # metres around the ego
CELL = 2.0
NEAREST = 7  # lamps that light one cell, at most
FAINTEST = 1e-3  # irradiance that still counts, at a lamp_scale of 1
LAMP_AREA = 5.0  # square metres that soften the light of a lamp near by
SIGNAL_EMISSION, HEAD_EMISSION, TAIL_EMISSION, STREET_EMISSION = 2.0, 8.0, 1.6, 8.0
EGO_LAMPS = ((3.65, 0.0, 0.68),)  # in base_link; both as one, on the car's centre line


@dataclass(frozen=True, eq=False)
class Lamps:
    """All lamps that are lit at one instant, in the geometry's axes: position and aim (L, 3), intensity (L, 3), kind
    (L,). `emission` (T,) is the radiance of each triangle of Material.LIGHT per unit of its colour; cells (G, G,
    NEAREST) name the lamps that light a cell around `centre` (2,). The last lamp is dark: cells without enough name it.
    """

    position: np.ndarray
    aim: np.ndarray
    intensity: np.ndarray
    kind: np.ndarray
    emission: np.ndarray
    cells: np.ndarray
    centre: np.ndarray

    def towards(self, lamp: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Share (N,) of its intensity that lamp (N,) sends along unit directions (N, 3)."""
        kind, rows = self.kind[lamp], directions.T
        share = _street_lamp(rows)
        for this, beam in ((HEAD, _headlamp), (TAIL, _tail_lamp)):
            index = np.flatnonzero(kind == this)
            share[index] = beam(self.aim[lamp[index]].T, rows[:, index])
        return share

    def beam(self, lamp: int, directions: np.ndarray) -> np.ndarray:
        """The same for one lamp and unit directions (3, N)."""
        if self.kind[lamp] == STREET:
            return _street_lamp(directions)
        return (_headlamp if self.kind[lamp] == HEAD else _tail_lamp)(self.aim[lamp], directions)


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Products (N,) of vectors in columns (3, N), or one (3,); sums run as in np.einsum of rows, to the last bit."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _street_lamp(directions: np.ndarray) -> np.ndarray:
    share = np.clip(0.05 - directions[2], 0, 1)
    return np.sqrt(share, out=share)


def _tail_lamp(aim: np.ndarray, directions: np.ndarray) -> np.ndarray:
    return np.clip(dot(aim, directions) + 0.1, 0, 1)


def _headlamp(aim: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """A low beam: wide, brightest just below the horizon, a faint rest above the cut-off."""
    forward = dot(aim, directions)
    left = aim[0] * directions[1] - aim[1] * directions[0]
    ahead = np.maximum(forward, 1e-3)
    lateral, above = left / ahead, directions[2] / ahead
    low = np.exp(-(((above + 0.02) / 0.05) ** 2)) + 0.16 * np.exp(-(((above + 0.12) / 0.16) ** 2))
    cut = 1.0 / (1.0 + np.exp(np.clip((above + 0.004) / 0.004, -30, 30)))
    share = np.exp(-((lateral / 0.42) ** 2)) * (low * cut + 0.02)
    return np.where(forward > 0.05, share, 0.0)


@lru_cache(maxsize=256)  # about a scene: the keys hold meshes
def _spots(actor: Actor) -> tuple[tuple[int, tuple[float, float, float]], ...]:
    """Kind and position in local axes of an actor's lamps: one for each side and end that has any."""
    mesh, result = actor.mesh_at(0.0), []
    centre = mesh.vertices.mean(1)
    light = mesh.material == Material.LIGHT
    for kind, colour, sign in ((HEAD, HEADLAMP, 1), (TAIL, TAIL_LAMP, -1)):
        chosen = light & (np.abs(mesh.colour - np.array(colour)).max(1) < 1e-3) & (centre[:, 0] * sign > 0)
        for side in (
            chosen & (centre[:, 1] > 0.12),
            chosen & (centre[:, 1] < -0.12),
            chosen & (abs(centre[:, 1]) < 0.12),
        ):
            if side.any():
                x, y, z = centre[side].mean(0)
                result.append((kind, (float(centre[side, 0].max() if sign > 0 else centre[side, 0].min()), y, z)))
    return tuple(result)


def drives(actor: Actor) -> bool:
    """Whether its lamps are on: vehicles that are not parked, cycles with a rider."""
    return actor.at_rest in ("vehicle.stopped", "cycle.with_rider")


def light_up(
    mesh: Mesh,
    actors: Iterable[tuple[Actor, slice, tuple[float, float, float]]],
    street: np.ndarray,
    light: Lighting,
    ego: np.ndarray,
) -> Lamps:
    """The lamps around the ego: those of `actors` (with their triangles and x, y, yaw in the geometry's axes), street
    lamps (S, 3), and the ego's own; `ego` (4, 4) is its pose in the geometry's axes.
    """
    scale = light.lamp_scale
    emission = np.full(len(mesh), SIGNAL_EMISSION * scale, np.float32)
    near = street[np.linalg.norm(street[:, :2] - ego[:2, 3], axis=1) < REACH + 15]
    rows = [(STREET, *position, 1.0, 0.0, 0.0, *(STREET_POWER * light.lamp_colour)) for position in near]
    emission[(mesh.material == Material.LIGHT) & (mesh.layer == STREET_LAYER)] = STREET_EMISSION * scale
    for actor, triangles, (x, y, yaw) in actors:
        lit, cos, sin = drives(actor), np.cos(yaw), np.sin(yaw)
        local = mesh.colour[triangles]
        for lamp_colour, value in ((HEADLAMP, HEAD_EMISSION), (TAIL_LAMP, TAIL_EMISSION)):
            mine = np.abs(local - np.array(lamp_colour)).max(1) < 1e-3
            emission[triangles][mine] = value * scale if lit else 0.03 * scale
        for kind, (px, py, pz) in _spots(actor) if lit else ():
            forward = 1.0 if kind == HEAD else -1.0
            power = (
                (HEAD_POWER * np.array((1.0, 0.93, 0.8))) if kind == HEAD else TAIL_POWER * np.array((1.0, 0.04, 0.02))
            )
            px += 0.04 * forward
            position = (x + cos * px - sin * py, y + sin * px + cos * py, pz)
            rows.append((kind, *position, forward * cos, forward * sin, 0.0, *power))
    for lamp in EGO_LAMPS:
        position = ego[:3, :3] @ lamp + ego[:3, 3]
        rows.append((HEAD, *position, *ego[:3, 0], *(1.1 * HEAD_POWER * np.array((1.0, 0.95, 0.86)))))
    rows.append((STREET, 0.0, 0.0, 1e4, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    table = np.array(rows, np.float32)
    lamps = Lamps(
        table[:, 1:4], table[:, 4:7], table[:, 7:10] * scale, table[:, 0].astype(np.int8), emission,
        np.zeros((0, 0, 0), np.int16), ego[:2, 3],
    )  # fmt: skip
    return replace(lamps, cells=_cells(lamps))


def _cells(lamps: Lamps) -> np.ndarray:
    """The brightest lamps of every cell, by what they throw on its ground or on a wall there."""
    side = np.arange(-REACH, REACH, CELL) + CELL / 2
    x, y = np.meshgrid(side + lamps.centre[0], side + lamps.centre[1], indexing="xy")
    points = np.stack([x.ravel(), y.ravel(), np.full(x.size, 0.3)]).astype(np.float32)
    power, brightness = lamps.intensity.max(1), np.empty((x.size, len(lamps.kind)), np.float32)
    for lamp, position in enumerate(lamps.position):
        away = points - position[:, None]
        squared = np.maximum(dot(away, away), 1.0)
        unit = away / np.sqrt(squared)
        steep = 0.06 + np.abs(unit[2])  # grazing light does little to the ground
        brightness[:, lamp] = lamps.beam(lamp, unit) * power[lamp] / squared * steep
    best = np.argsort(-brightness, axis=1)[:, :NEAREST]
    best = np.where(np.take_along_axis(brightness, best, 1) > FAINTEST, best, len(lamps.kind) - 1)
    return best.reshape(*x.shape, NEAREST).astype(np.int16)


def lit_windows(uv: np.ndarray, layer: np.ndarray, tint: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Radiance (N, 3) behind window panes at texture coordinates (N, 2): a third of the rooms, and most shops at street
    level, are lit. The same window is lit in every picture.
    """
    column, row = np.floor(uv[:, 0] * 4), np.floor(uv[:, 1] * 4)
    key = column * 12.9898 + row * 78.233 + layer * 37.719 + np.round(tint * 997.0) * 3.137
    first, second, third = (np.modf(np.abs(np.sin(key * factor)) * 43758.5453)[0] for factor in (1.0, 1.7, 2.3))
    lit = first < np.where(height < 3.3, 0.65, 0.3)
    warm = np.array((1.0, 0.66, 0.32)) * (1 - third[:, None]) + np.array((0.9, 0.95, 1.0)) * third[:, None]
    within = 0.75 + 0.25 * (1 - np.modf(np.abs(uv[:, 1]) * 4)[0])
    return (lit * (0.08 + 0.5 * second**2) * within)[:, None] * warm
