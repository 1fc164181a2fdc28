"""What a view transform needs of a rig in training, and how it is joined for a batch of rigs.

`pull` and `splat`: the terms of their sums, weight x depth probability x feature -> cell. Attention: reference points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kd_perception.geometry.camera import Camera
from kd_perception.student.spec import ATTENTION, StudentSpec
from kd_perception.student.view_tables import build_tables
from kd_perception.student.view_tables.depth import pixels_of
from kd_perception.student.view_tables.sources import SOURCES
from kd_perception.student.view_tables.splat import in_cell_order, splat_cells


@dataclass(frozen=True)
class ViewTerms:
    """K terms of the sums: cell, pixel and depth (K,) int64 indices as in the tables, weight (K,) float32.

    Cells ascend, so that a sum finds its terms behind each other.
    """

    cell: np.ndarray
    pixel: np.ndarray
    depth: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True)
class ReferencePoints:
    """Attention's tables (kd_perception.student.view_tables.reference_points): places (SOURCES, Q, Z, 2), camera and
    seen (SOURCES, Q, Z)."""

    places: np.ndarray
    camera: np.ndarray
    seen: np.ndarray


class PlacedTerms(NamedTuple):
    """Terms of the rig at `place` of a batch, whose cameras begin at `first_camera`."""

    place: int
    first_camera: int
    terms: ViewTerms | ReferencePoints


def view_terms(
    spec: StudentSpec, cameras: Sequence[Camera], network_from_image: Sequence[np.ndarray]
) -> ViewTerms | ReferencePoints:
    """The terms of one rig for training; what the tables of `pull` and `splat` pad is left out."""
    cells = spec.grid.shape[0] * spec.grid.shape[1]
    if spec.view.kind == "splat":
        return _splat_terms(spec, cameras, network_from_image)
    tables = build_tables(spec, cameras, network_from_image)
    if spec.view.kind == ATTENTION:
        return ReferencePoints(*(tables[f"reference_{name}"] for name in ("points", "camera", "seen")))
    weight = np.ascontiguousarray(tables["weight"].reshape(-1, cells).T)  # the tables are (source, height, cell)
    at = np.flatnonzero(weight)
    cell = at // weight.shape[1]
    used = (at - cell * weight.shape[1]) * cells + cell
    pixel, depth = (tables[name].reshape(-1)[used].astype(np.int64) for name in ("pixel_index", "depth_index"))
    return ViewTerms(cell, pixel, depth, weight.reshape(-1)[at])


def _splat_terms(spec: StudentSpec, cameras: Sequence[Camera], network_from_image: Sequence[np.ndarray]) -> ViewTerms:
    cell = splat_cells(spec.grid, spec.image_size, spec.view, cameras, network_from_image)
    depth = in_cell_order(cell)
    pixel = pixels_of(depth, spec.view.depth.count, spec.feature_size[0] * spec.feature_size[1])
    return ViewTerms(cell[depth], pixel, depth, np.ones(len(depth), np.float32))


def join_terms(spec: StudentSpec, placed: Sequence[PlacedTerms], rigs: int) -> dict[str, Tensor]:
    """Terms of a batch of so many rigs, by name, as kd_training.models takes them; a rig without any has no terms.

    Indices are moved by what stands before. Attention's tables stand behind each other, with an axis of rigs.
    """
    if spec.view.kind == ATTENTION:
        return _join_reference_points(spec, placed, rigs)
    cells = spec.grid.shape[0] * spec.grid.shape[1]
    pixels = spec.feature_size[0] * spec.feature_size[1]
    nothing = np.zeros(0, np.int64)
    terms = {
        "cell": [nothing, *(terms.cell + cells * place for place, _, terms in placed)],
        "pixel": [nothing, *(terms.pixel + pixels * first for _, first, terms in placed)],
        "depth": [nothing, *(terms.depth + pixels * spec.view.depth.count * first for _, first, terms in placed)],
        "weight": [np.zeros(0, np.float32), *(terms.weight for _, _, terms in placed)],
    }
    return {name: torch.from_numpy(np.concatenate(parts)) for name, parts in terms.items()}


def _join_reference_points(spec: StudentSpec, placed: Sequence[PlacedTerms], rigs: int) -> dict[str, Tensor]:
    """(rigs, SOURCES, Q, Z, ...) of each table; a rig without cameras sees nothing."""
    rows, columns = spec.memory_grid.shape
    shape = (rigs, SOURCES, rows * columns, len(spec.view.heights))
    places, seen = np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32)
    camera = np.zeros(shape, np.int64)
    for place, first, terms in placed:
        places[place], seen[place], camera[place] = terms.places, terms.seen, terms.camera + first
    arrays = {"reference_points": places, "reference_camera": camera, "reference_seen": seen}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
