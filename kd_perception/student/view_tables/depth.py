"""Where a camera's range bins lie: one rule for the tables of every view transform and for LiDAR depth labels."""

import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.student.spec import DepthBins


def bin_of_range(depth: DepthBins, ranges: np.ndarray, camera: Camera, network_from_image: np.ndarray) -> np.ndarray:
    """Bin (int64, same shape) of ranges in metres from a camera; below 0 or from `count` on where they are outside the
    bins.
    """
    virtual = ranges / _range_per_virtual(depth, camera, network_from_image)
    return np.floor((virtual - depth.start) / depth.step).astype(np.int64)


def middle_ranges(depth: DepthBins, camera: Camera, network_from_image: np.ndarray) -> np.ndarray:
    """Range (bins,) in metres of each bin's middle for a camera."""
    virtual = depth.start + (np.arange(depth.count) + 0.5) * depth.step
    return virtual * _range_per_virtual(depth, camera, network_from_image)


def pixels_of(depth_index: np.ndarray, bins: int, pixels: int) -> np.ndarray:
    """Indices into (cameras, pixels) flattened, of indices into (cameras, bins, pixels) flattened."""
    plane = depth_index // pixels  # of one camera and bin; NumPy is slow with remainders
    return plane // bins * pixels + (depth_index - plane * pixels)


def _range_per_virtual(depth: DepthBins, camera: Camera, network_from_image: np.ndarray) -> float:
    """Focal length in the network image over the one the bins are stated for."""
    if depth.focal == 0.0:
        return 1.0
    pixels = np.sqrt(abs(np.linalg.det(camera.intrinsics[:2, :2] @ network_from_image[:2, :2])))
    return float(pixels / depth.focal)
