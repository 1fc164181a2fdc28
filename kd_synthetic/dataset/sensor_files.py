"""Files of rendered sensors: pictures, point clouds, and masks and depth for teachers. All are written atomically."""

from pathlib import Path

import numpy as np
import simplejpeg

from kd_perception.atomic import atomic_path
from kd_perception.datasets.masks_and_depth import picture_path, write_depth, write_mask
from kd_synthetic.dataset.config import RenderConfig
from kd_synthetic.rendering.camera import Exposure

JPEG_QUALITY = 90


def write_picture(target: Path, image: np.ndarray) -> None:
    """Write a picture (H, W, 3) uint8 RGB."""
    jpeg = simplejpeg.encode_jpeg(image, quality=JPEG_QUALITY, colorspace="RGB", colorsubsampling="420")
    with atomic_path(target) as path:
        path.write_bytes(jpeg)


def write_cloud(target: Path, cloud: np.ndarray) -> None:
    """Write a point cloud (N, 5) as nuScenes stores it: little-endian float32."""
    with atomic_path(target) as path:
        path.write_bytes(cloud.astype("<f4").tobytes())


def write_for_teachers(config: RenderConfig, filename: str, exposure: Exposure, tokens: dict[int, str]) -> None:
    """Write the mask and the depth of the picture `filename`, if wanted; `tokens` are the actors' annotations."""
    if config.masks:
        write_mask(picture_path(config.out, "masks", filename), exposure.owner, tokens)
    if config.depth:
        write_depth(picture_path(config.out, "depth", filename), exposure.distance)
