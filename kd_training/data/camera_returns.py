"""LiDAR returns as the cameras of a rig see them: depth labels and virtual points take their ranges from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.datasets.nuscenes import ego_pose, sensor_transform
from kd_perception.geometry.transforms import apply, apply_to_columns, invert
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


def project_returns(frame: TrainingFrame, sweeps: Sequence[np.ndarray]) -> tuple[CameraReturns, ...]:
    """The keyframe's own sweeps per camera, from the ego pose at its exposure.

    `sweeps`: the points (P, 3 or more) of each of the frame's LiDARs, in that LiDAR's frame. Of a masked camera there
    are none.
    """
    in_global = np.concatenate(
        [
            apply(ego_pose(frame.nusc, row) @ sensor_transform(frame.nusc, row), sweep[:, :3].astype(np.float64))
            for row, sweep in zip(frame.lidars, sweeps, strict=True)
        ]
    )
    seen_by = []
    for image in frame.frame.images:
        if image.path is None:
            seen_by.append(CameraReturns(np.zeros((0, 2), np.float32), np.zeros(0, np.float32)))
            continue
        pixels, ranges, seen = image.camera.project(apply_to_columns(invert(image.global_from_ego), in_global.T).T)
        last = np.nextafter(np.float32([image.camera.width, image.camera.height]), np.float32(0.0))
        there = np.flatnonzero(seen)
        inside = np.minimum(pixels[there].astype(np.float32), last)  # rounding could move a pixel beyond the edge
        seen_by.append(CameraReturns(inside, ranges[there].astype(np.float32)))
    return tuple(seen_by)
