"""LiDAR returns as the cameras of a rig see them: depth labels and virtual points take their ranges from them."""

from dataclasses import dataclass

import numpy as np

from kd_perception.datasets.nuscenes import ego_pose, sensor_transform
from kd_perception.geometry.transforms import apply, invert
from kd_training.data.frames import TrainingFrame


@dataclass(frozen=True)
class CameraReturns:
    """LiDAR returns that one camera sees: pixels (P, 2) of its image (centres at .5), ranges (P,) in metres."""

    pixels: np.ndarray
    ranges: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.pixels.nbytes + self.ranges.nbytes


def project_returns(frame: TrainingFrame, sweep: np.ndarray) -> tuple[CameraReturns, ...]:
    """The keyframe's own `sweep` (P, 3 or more; in the LiDAR's frame) per camera, from the ego pose at its exposure."""
    points = sweep[:, :3].astype(np.float64)
    in_global = apply(ego_pose(frame.nusc, frame.lidar) @ sensor_transform(frame.nusc, frame.lidar), points)
    seen_by = []
    for image in frame.frame.images:
        pixels, ranges, seen = image.camera.project(apply(invert(image.global_from_ego), in_global))
        last = np.nextafter(np.float32([image.camera.width, image.camera.height]), np.float32(0.0))
        inside = np.minimum(pixels[seen].astype(np.float32), last)  # rounding could move a pixel beyond the edge
        seen_by.append(CameraReturns(inside, ranges[seen].astype(np.float32)))
    return tuple(seen_by)
