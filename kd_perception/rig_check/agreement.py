"""How well a camera's picture fits the cloud: do picture edges lie where the range jumps?

After Levinson and Thrun, "Automatic Online Calibration of Cameras and Lasers" (RSS 2013): where one object ends in
front of another, the range along a scan line jumps, and usually colour does too. Whether that is more than chance is
asked of the same pictures, pushed sideways: their edges are as many and as clustered, but say nothing of the cloud.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert

EDGE_WIDTH = 352  # pixels to which pictures are reduced: a scan line's points are about as dense
NEAREST, FARTHEST = 2.0, 60.0  # metres: nearer is the vehicle itself, farther there are few points
FULL_JUMP = 0.1  # logarithm of the ratio of two neighbours' ranges from which on a jump counts fully
LINE_HEIGHT = np.radians(0.2)  # points within this elevation form one scan line
NEIGHBOUR_GAP = np.radians(1.2)  # neighbours on a line are no further apart
FEWEST_POINTS, FEWEST_JUMPS = 200, 20  # in a picture; fewer say nothing
AROUND = (61, 5)  # pixels across and down: what is common to such a patch of the picture says nothing
SIEVE = 2.0  # tangents of angles, in those at the border of a picture without distortion, beyond which nothing is seen
UNRELATED = 16  # pixels from which on a picture that is pushed sideways has nothing to do with the cloud
FAINTEST_EDGE = 0.03  # gradient (log brightness) that a tenth of a picture's pixels must reach


def jump_strengths(points: np.ndarray, base_from_cloud: np.ndarray) -> np.ndarray:
    """How much each of the points (N, 3) in base_link lies at the near side of a jump in range, 0 to 1 (N,).

    Scan lines are found by elevation in the sensor's frame, so that any cloud will do, with ring numbers or without.
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
    return np.minimum(strongest / FULL_JUMP, 1.0)


@dataclass(frozen=True)
class Jumps:
    """The part of a cloud that matters: points (N, 3) in base_link, and how much each of them is a jump (N,)."""

    points: np.ndarray
    strengths: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, base_from_cloud: np.ndarray) -> "Jumps":
        """Of a cloud (N, 3) in base_link."""
        near = np.linalg.norm(points - base_from_cloud[:3, 3], axis=1) < 1.1 * FARTHEST
        return cls(points[near], jump_strengths(points, base_from_cloud)[near])

    def seen_by(self, camera: Camera, moved: np.ndarray, height: int) -> np.ndarray | None:
        """Jumps (height, 352) in a camera's picture, less what is usual around them; the cloud moved first (4, 4).

        None if it sees too few points or jumps to compare with a picture.
        """
        cloud_from_camera = invert(moved) @ camera.ego_from_camera
        local = apply(invert(cloud_from_camera), self.points)
        ahead = _may_be_seen(camera, local)
        local = local[ahead]
        pixels, seen = camera.project_local(local)
        ranges = np.sqrt(np.einsum("ni,ni->n", local, local))
        seen &= ((pixels >= 0.0) & (pixels < [camera.width, camera.height])).all(axis=1)
        seen &= (ranges > NEAREST) & (ranges < FARTHEST)
        strengths = self.strengths[ahead][seen]
        if len(strengths) < FEWEST_POINTS or strengths.sum() < FEWEST_JUMPS:
            return None
        shape = np.array([EDGE_WIDTH, height])
        places = np.clip((pixels[seen] / [camera.width, camera.height] * shape).astype(int), 0, shape - 1)
        flat = places[:, 1] * EDGE_WIDTH + places[:, 0]
        maps = [
            np.bincount(flat, values, EDGE_WIDTH * height).reshape(height, EDGE_WIDTH).astype(np.float32)
            for values in (strengths, None)
        ]
        around = [cv2.boxFilter(values, -1, AROUND, normalize=False) for values in maps]
        return maps[0] - maps[1] * around[0] / np.maximum(around[1], 1.0)


def _may_be_seen(camera: Camera, local: np.ndarray) -> np.ndarray:
    """A quick sieve of points (N, 3) in a camera's frame: which are not far outside its picture (N,)."""
    if camera.lens.max_angle > np.pi / 2.0:
        return np.ones(len(local), bool)
    (fx, fy), (cx, cy) = np.diag(camera.intrinsics)[:2], camera.intrinsics[:2, 2]
    x, y, z = np.abs(local[:, 0]), np.abs(local[:, 1]), local[:, 2]
    across, down = SIEVE * max(cx, camera.width - cx) / fx, SIEVE * max(cy, camera.height - cy) / fy
    return (x < across * z) & (y < down * z)


def edge_map(image: np.ndarray) -> np.ndarray | None:
    """Edges (height, 352) of an RGB picture reduced to 352 columns: ranks in their row, less what is usual around them.

    None if it has hardly any edges: a covered lens, darkness, a uniform wall.
    """
    height = max(1, round(image.shape[0] * EDGE_WIDTH / image.shape[1]))
    small = np.log(cv2.resize(image, (EDGE_WIDTH, height), interpolation=cv2.INTER_AREA).astype(np.float32) + 10.0)
    gradient = np.abs(cv2.Sobel(small, cv2.CV_32F, 1, 0, ksize=3, scale=0.25)).max(axis=2)
    if np.quantile(gradient, 0.9) < FAINTEST_EDGE:
        return None
    gradient = cv2.dilate(gradient, np.ones((1, 3), np.uint8))
    ranks = np.stack([_ranks(row) for row in gradient])
    return ranks - cv2.blur(ranks, (AROUND[0], 1), borderType=cv2.BORDER_REFLECT)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Share of the values (N,) below each of them, float32; equal ones share a rank."""
    ordered = np.sort(values)
    below, up_to = np.searchsorted(ordered, values), np.searchsorted(ordered, values, side="right")
    return ((below + up_to) / (2.0 * len(values))).astype(np.float32)


def pushed_agreements(jumps: np.ndarray, edge_spectrum: np.ndarray) -> np.ndarray:
    """Sum of edges at jumps (height, 352) for the picture pushed sideways by 0 to 351 pixels, cyclically.

    edge_spectrum: Fourier transform of each row of the edges (height, 177).
    """
    spectrum = np.conj(np.fft.rfft(jumps, axis=1)) * edge_spectrum
    return np.fft.irfft(spectrum.sum(axis=0), n=EDGE_WIDTH)


def standard_score(agreements: np.ndarray) -> float:
    """The agreement of the picture in its place, in standard deviations of the pushed ones; NaN if all are equal.

    About normal, mean 0 and deviation 1, for a picture of something else. Sums over several moments have the same
    distribution, also where the robot stood still and all pictures are the same.
    """
    unrelated = agreements[UNRELATED:-UNRELATED]
    spread = float(unrelated.std())
    return float((agreements[0] - unrelated.mean()) / spread) if spread > 1e-9 else float("nan")
