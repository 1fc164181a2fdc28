"""View tables: camera calibration -> the index and weight arrays of a view transform, by one NumPy builder for each."""

from collections.abc import Sequence

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.student.spec import ATTENTION, StudentSpec
from kd_perception.student.view_tables.pull import pull_tables
from kd_perception.student.view_tables.reference_points import reference_points
from kd_perception.student.view_tables.splat import splat_tables


def build_tables(
    spec: StudentSpec, cameras: Sequence[Camera], network_from_image: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The tables of the spec's view transform for a rig, by input name.

    `network_from_image[i]` (3, 3) is the affine map from camera i's pixels to the network image's
    (kd_perception.student.preprocess).
    """
    builder = {"pull": pull_tables, "splat": splat_tables, ATTENTION: reference_points}[spec.view.kind]
    grid = spec.memory_grid if spec.view.kind == ATTENTION else spec.grid
    return builder(grid, spec.image_size, spec.view, cameras, network_from_image)
