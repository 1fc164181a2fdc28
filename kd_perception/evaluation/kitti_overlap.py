"""How much KITTI's boxes overlap: in the picture, on the ground and in space (Geiger et al., CVPR 2012)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from kd_perception.datasets.kitti_labels import KittiObject

MEASURES = ("2D", "BEV", "3D")
LENGTH_SIGNS, WIDTH_SIGNS = np.array([1, 1, -1, -1]) / 2.0, np.array([1, -1, -1, 1]) / 2.0


@dataclass(frozen=True, eq=False)
class KittiColumns:
    """N rows of a file as arrays.

    kind (N,) as the file spells it; truncated, occluded, score (N,); box (N, 4) left, top, right, bottom in pixels;
    size (N, 3) height, width, length; location (N, 3) centre of the bottom face in the rectified camera frame;
    rotation_y (N,).
    """

    kind: np.ndarray
    truncated: np.ndarray
    occluded: np.ndarray
    box: np.ndarray
    size: np.ndarray
    location: np.ndarray
    rotation_y: np.ndarray
    score: np.ndarray

    @staticmethod
    def of(rows: Sequence[KittiObject]) -> "KittiColumns":
        """The rows of one file; a label's score is NaN."""
        return KittiColumns(
            kind=np.array([row.kind for row in rows], dtype=object),
            truncated=np.array([row.truncated for row in rows], dtype=float),
            occluded=np.array([row.occluded for row in rows], dtype=float),
            box=np.array([row.box for row in rows], dtype=float).reshape(-1, 4),
            size=np.array([row.size for row in rows], dtype=float).reshape(-1, 3),
            location=np.array([row.location for row in rows], dtype=float).reshape(-1, 3),
            rotation_y=np.array([row.rotation_y for row in rows], dtype=float),
            score=np.array([np.nan if row.score is None else row.score for row in rows], dtype=float),
        )

    def __len__(self) -> int:
        return len(self.kind)

    def footprints(self) -> np.ndarray:
        """Corners (N, 4, 2), x and z of the rectified frame, seen from above."""
        along = self.size[:, 2, None] * LENGTH_SIGNS
        across = self.size[:, 1, None] * WIDTH_SIGNS
        cos, sin = np.cos(self.rotation_y)[:, None], np.sin(self.rotation_y)[:, None]
        return np.stack([cos * along + sin * across, cos * across - sin * along], axis=-1) + self._ground()[:, None]

    def _ground(self) -> np.ndarray:
        return self.location[:, [0, 2]]


def overlaps(detections: KittiColumns, labels: KittiColumns) -> dict[str, np.ndarray]:
    """Intersection over union (D, G) of each detection with each label, by measure. Labels have sizes above 0."""
    shared_area = _shared_ground(detections, labels)
    area = [rows.size[:, 1] * rows.size[:, 2] for rows in (detections, labels)]
    tops = [rows.location[:, 1] - rows.size[:, 0] for rows in (detections, labels)]  # y points down
    bottoms = [rows.location[:, 1] for rows in (detections, labels)]
    shared_height = np.minimum.outer(*bottoms) - np.maximum.outer(*tops)
    shared_volume = shared_area * shared_height.clip(min=0.0)
    volume = [rows.size.prod(axis=1) for rows in (detections, labels)]
    shared_pixels = _shared_pixels(detections.box, labels.box)
    pixels = [_pixels(rows.box) for rows in (detections, labels)]
    return {
        "2D": _over_union(shared_pixels, pixels),
        "BEV": _over_union(shared_area, area),
        "3D": _over_union(shared_volume, volume),
    }


def share_covered(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """The largest share (N,) of each picture box (N, 4) that lies in one of the regions (R, 4); 0 without regions."""
    shares = _ratio(_shared_pixels(boxes, regions), _pixels(boxes)[:, None])
    return shares.max(axis=1, initial=0.0)


def _shared_ground(detections: KittiColumns, labels: KittiColumns) -> np.ndarray:
    """Square metres (D, G); shapely clips only pairs whose circumscribed circles meet."""
    corners = [rows.footprints() for rows in (detections, labels)]
    radius = [np.hypot(rows.size[:, 1], rows.size[:, 2]) / 2.0 for rows in (detections, labels)]
    apart = detections.location[:, None, [0, 2]] - labels.location[None, :, [0, 2]]
    first, second = np.nonzero(np.hypot(apart[..., 0], apart[..., 1]) < np.add.outer(*radius))
    shared = np.zeros(apart.shape[:2])
    if len(first):
        polygons = [shapely.polygons(outline) for outline in corners]
        shared[first, second] = shapely.area(shapely.intersection(polygons[0][first], polygons[1][second]))
    return shared


def _shared_pixels(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return (high - low).clip(min=0.0).prod(axis=2)


def _pixels(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _over_union(shared: np.ndarray, extents: Sequence[np.ndarray]) -> np.ndarray:
    return _ratio(shared, np.add.outer(*extents) - shared)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Zero where nothing is shared, whatever the whole is."""
    return np.divide(part, whole, out=np.zeros_like(part), where=part > 0.0)
