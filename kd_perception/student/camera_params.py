"""Camera parameters of a camera-aware student: each camera's position and the viewing directions of its pixels.

BEVDepth (arXiv:2206.10092) hands focal lengths, principal point, mounting and augmentation matrices to its depth
network. Rays state all of it in one way, for any lens: nine pixels of the NETWORK image, spread evenly, each with its
viewing direction in ego. Crop, scale, rotation, mirroring or distortion of the image move the rays as they move the
picture. A rotated or mirrored ego rotates or mirrors them. So one builder serves the robot and training with any
augmentation.
"""

from collections.abc import Sequence

import numpy as np

from kd_perception.geometry.camera import Camera

GRID = 3  # rays per row and column of the image
CAMERA_PARAMS = 3 + 3 * GRID * GRID


def camera_params(
    image_size: tuple[int, int], cameras: Sequence[Camera], network_from_image: Sequence[np.ndarray]
) -> np.ndarray:
    """(cameras, CAMERA_PARAMS) float32: position in ego (x, y, z in metres), then unit rays in ego (x, y, z), row by
    row, of the centres of GRID x GRID equal parts of the network image; zeros where the lens sees nothing.

    `image_size` (height, width) in pixels; `network_from_image[i]` (3, 3) as for the view tables.
    """
    height, width = image_size
    middles = (np.arange(GRID) + 0.5) / GRID
    v, u = np.meshgrid(middles * height, middles * width, indexing="ij")
    pixels = np.column_stack([u.ravel(), v.ravel(), np.ones(u.size)])
    rows = np.empty((len(cameras), CAMERA_PARAMS), np.float32)
    for row, camera, affine in zip(rows, cameras, network_from_image, strict=True):
        rays = camera.unproject((pixels @ np.linalg.inv(affine).T)[:, :2]) @ camera.ego_from_camera[:3, :3].T
        row[:3] = camera.ego_from_camera[:3, 3]
        row[3:] = np.nan_to_num(rays).ravel()
    return rows
