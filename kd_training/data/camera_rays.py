"""The cells of a BEV raster that lie on one camera ray: what a picture cannot tell apart without knowing depth."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.grid import BevGrid


class ObjectRays(NamedTuple):
    """Of R pairs of an object and a camera that sees its centre: rig (R,), cell of the object row, column (R,).

    along_row, along_column (R, S): cells of the raster on the ray from the camera through that centre, one cell apart;
    there (R, S) bool: whether the ray's cell is on the raster.
    """

    rig: np.ndarray
    row: np.ndarray
    column: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    there: np.ndarray


def object_rays(
    boxes: Sequence[Boxes], cameras: Sequence[Sequence[Camera]], grid: BevGrid, shape: tuple[int, int]
) -> ObjectRays:
    """Rays of the boxes of each rig, in ego, whose centre is on the grid, on a raster of `shape` over its extent."""
    rigs, centres, eyes = [], [], []
    for rig, (entry, seen_by) in enumerate(zip(boxes, cameras, strict=True)):
        inside = entry.center[grid.holds(entry.center[:, :2])]
        for camera in seen_by:
            seen = inside[camera.project(inside)[2]]
            rigs.append(np.full(len(seen), rig))
            centres.append(seen[:, :2])
            eyes.append(np.broadcast_to(camera.ego_from_camera[:2, 3], (len(seen), 2)))
    if not rigs:
        rigs, centres, eyes = [np.zeros(0, np.int64)], [np.zeros((0, 2))], [np.zeros((0, 2))]
    rows, columns = shape
    corner, extent = np.array([grid.x_min, grid.y_min]), np.array([grid.x_max - grid.x_min, grid.y_max - grid.y_min])
    step = extent / (columns, rows)  # metres, along x and y
    centre, eye = np.concatenate(centres), np.concatenate(eyes)
    column, row = np.floor((centre - corner) / step).astype(np.int64).T
    direction = (centre - eye) / np.maximum(np.hypot(*(centre - eye).T), 1e-6)[:, None]
    reach = np.arange(int(np.hypot(*extent) / step.min())) * step.min()
    place = np.floor((eye[:, None] + reach[None, :, None] * direction[:, None] - corner) / step).astype(np.int64)
    there = ((place >= 0) & (place < (columns, rows))).all(axis=2)
    place = np.where(there[:, :, None], place, 0)
    return ObjectRays(np.concatenate(rigs), row, column, place[:, :, 1], place[:, :, 0], there)
