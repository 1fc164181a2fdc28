"""The terms of a view transform's sums, weight x depth probability x feature -> cell, of one rig."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.student.spec import StudentSpec
from kd_perception.student.view_tables import build_tables
from kd_perception.student.view_tables.splat import splat_cells


@dataclass(frozen=True)
class ViewTerms:
    """K terms of the sums: cell, pixel and depth (K,) int64 indices as in the tables, weight (K,) float32.

    Cells ascend, so that a sum finds its terms behind each other.
    """

    cell: np.ndarray
    pixel: np.ndarray
    depth: np.ndarray
    weight: np.ndarray


def view_terms(spec: StudentSpec, cameras: Sequence[Camera], network_from_image: Sequence[np.ndarray]) -> ViewTerms:
    """The terms of one rig for training; what the tables pad is left out."""
    cells = spec.grid.shape[0] * spec.grid.shape[1]
    if spec.view.kind == "splat":
        cell = splat_cells(spec.grid, spec.image_size, spec.view, cameras, network_from_image)
        depth = np.flatnonzero(cell >= 0)
        pixels = spec.feature_size[0] * spec.feature_size[1]
        pixel = depth // (pixels * spec.view.depth.count) * pixels + depth % pixels
        order = np.argsort(cell[depth], kind="stable")
        pixel, depth = pixel[order], depth[order]
        cell, weight = cell[depth], np.ones(len(depth), np.float32)
    else:
        tables = build_tables(spec, cameras, network_from_image)
        cell, layer = np.nonzero(tables["weight"].reshape(-1, cells).T)  # the tables are (source, height, cell)
        used = layer * cells + cell
        pixel, depth, weight = (tables[name].ravel()[used] for name in ("pixel_index", "depth_index", "weight"))
    return ViewTerms(cell, pixel.astype(np.int64), depth.astype(np.int64), weight)
