"""How well a camera's picture fits the cloud: do picture edges lie where the range jumps?

After Levinson and Thrun, "Automatic Online Calibration of Cameras and Lasers" (RSS 2013): where one object ends in
front of another, the range along a scan line jumps, and usually colour does too. Ranks of the gradient are compared
within picture rows, so that what all street pictures share (a horizon full of edges, a smooth road below) says nothing.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert

EDGE_WIDTH = 352  # pixels to which pictures are reduced: a scan line's points are about as dense
NEAREST, FARTHEST = 2.0, 40.0  # metres: nearer is the vehicle itself, farther there are few points
JUMP = 0.1  # least logarithm of the ratio of two neighbours' ranges
LINE_HEIGHT = np.radians(0.2)  # points within this elevation form one scan line
NEIGHBOUR_GAP = np.radians(1.2)  # neighbours on a line are no further apart
FEWEST_POINTS, FEWEST_JUMPS = 200, 20  # in a picture; fewer say nothing


@dataclass(frozen=True)
class Projected:
    """A cloud in one camera: positions (N, 2) as shares of the picture's width and height, and which points jump."""

    shares: np.ndarray
    jumps: np.ndarray

    @property
    def telling(self) -> bool:
        """Whether there is enough to compare."""
        return len(self.jumps) >= FEWEST_POINTS and FEWEST_JUMPS <= self.jumps.sum() <= len(self.jumps) - FEWEST_JUMPS


def range_jumps(points: np.ndarray, base_from_cloud: np.ndarray) -> np.ndarray:
    """Which of the points (N, 3) in base_link lie at the near side of a jump in range along their scan line (N,).

    Lines are found by elevation in the sensor's frame, so that any cloud will do, with ring numbers or without.
    """
    local = apply(invert(base_from_cloud), points)
    ranges = np.maximum(np.linalg.norm(local, axis=1), 1e-6)
    azimuth = np.arctan2(local[:, 1], local[:, 0])
    elevation = np.arcsin(np.clip(local[:, 2] / ranges, -1.0, 1.0))
    strongest = np.zeros(len(points))
    for shift in (0.0, 0.5):  # a line that one raster cuts in two is whole in the other
        line = np.floor(elevation / LINE_HEIGHT + shift)
        order = np.lexsort((azimuth, line))
        neighbours = (np.diff(line[order]) == 0) & (np.diff(azimuth[order]) < NEIGHBOUR_GAP)
        step = np.where(neighbours, np.diff(np.log(ranges[order])), 0.0)
        beyond = np.maximum(np.append(step, 0.0), np.append(0.0, -step))  # the further of both neighbours
        strongest[order] = np.maximum(strongest[order], beyond)
    return strongest > JUMP


def project_cloud(camera: Camera, points: np.ndarray, jumps: np.ndarray) -> Projected:
    """The points (N, 3) in base_link at the camera's exposure that it sees."""
    pixels, ranges, seen = camera.project(points)
    seen &= (ranges > NEAREST) & (ranges < FARTHEST)
    return Projected(pixels[seen] / [camera.width, camera.height], jumps[seen])


def edge_ranks(image: np.ndarray) -> np.ndarray:
    """Per pixel of an RGB picture reduced to 352 columns: share of its row with a weaker horizontal gradient."""
    height = max(1, round(image.shape[0] * EDGE_WIDTH / image.shape[1]))
    small = np.log(cv2.resize(image, (EDGE_WIDTH, height), interpolation=cv2.INTER_AREA).astype(np.float32) + 10.0)
    gradient = np.abs(cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=3)).max(axis=2)
    gradient = cv2.dilate(gradient, np.ones((1, 3), np.uint8))
    return (np.argsort(np.argsort(gradient, axis=1), axis=1) + 0.5) / EDGE_WIDTH


def agreement(projected: Projected, ranks: np.ndarray) -> float:
    """How much stronger picture edges are at range jumps than elsewhere, in standard errors; NaN if too few points.

    A picture of something else gives values around 0 that spread by about 2 (neighbouring points are not independent).
    """
    if not projected.telling:
        return np.nan
    height, width = ranks.shape
    column, row = np.clip((projected.shares * [width, height]).astype(int), 0, [width - 1, height - 1]).T
    values = ranks[row, column]
    spread = max(float(values.std()), 1e-6)
    difference = values[projected.jumps].mean() - values[~projected.jumps].mean()
    return float(difference / spread * np.sqrt(projected.jumps.sum()))


def combine(values: list[float]) -> float:
    """One figure of several moments' agreements, again in standard errors; NaN if none of them says anything."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.sum(known) / np.sqrt(len(known))) if known else np.nan
