"""A student file's geometry inputs, by name: view tables, and camera parameters if the student takes them.

A file holds nothing of a rig: a new calibration or a moved camera means new inputs, not a new model.
"""

from collections.abc import Sequence

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.student.camera_params import camera_params
from kd_perception.student.spec import PARAMS_INPUT, StudentSpec
from kd_perception.student.view_tables import build_tables


def geometry_inputs(
    spec: StudentSpec, cameras: Sequence[Camera], network_from_image: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The file's geometry inputs for a rig.

    `network_from_image[i]` (3, 3) is the affine map from camera i's pixels to the network image's
    (kd_perception.student.preprocess).
    """
    tables = build_tables(spec, cameras, network_from_image)
    if not spec.camera_params:
        return tables
    return {PARAMS_INPUT: camera_params(spec.image_size, cameras, network_from_image), **tables}
