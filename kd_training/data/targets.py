"""CenterPoint's targets (arXiv:2006.11275): Gaussian class heatmaps and box codes at object centres; and LiDAR depth
labels."""

from dataclasses import dataclass, replace

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS, BoxCoding, Heading
from kd_perception.student.spec import StudentSpec
from kd_perception.student.view_tables.depth import bin_of_range
from kd_training.data.camera_returns import CameraReturns

MIN_OVERLAP = 0.1
MIN_RADIUS = 2  # cells
NO_DEPTH = -1  # label of feature pixels without a return


@dataclass(frozen=True)
class DetectionTargets:
    """heatmap (classes, rows, columns) in [0, 1]; of the N objects inside the grid: group, row, column (N,), boxes and
    codes (N, codes) as BoxCoding's targets, NaN where there is nothing to learn; the grid's cell size in metres.

    What is less than certain: `doubt`, bool as the heatmap, marks cells without an object that may have one, None where
    all is known; `weight` is what the targets count in the losses.
    """

    heatmap: np.ndarray
    group: np.ndarray
    row: np.ndarray
    column: np.ndarray
    codes: np.ndarray
    boxes: Boxes
    coding: BoxCoding
    cell_size: float
    doubt: np.ndarray | None = None
    weight: float = 1.0

    def doubted(self, doubt: np.ndarray, weight: float = 1.0) -> "DetectionTargets":
        """The same with cells (classes, rows, columns) in doubt; those around an object of the class are certain."""
        return replace(self, doubt=doubt & (self.heatmap == 0.0), weight=weight)


def detection_targets(boxes: Boxes, grid: BevGrid, coding: BoxCoding = AXIS) -> DetectionTargets:
    """Targets of ground-truth boxes in base_link; boxes whose centre is outside the grid are left out."""
    boxes = boxes[grid.holds(boxes.center[:, :2])]
    column, row = np.floor(grid.to_cells(boxes.center[:, :2])).astype(np.int64).T
    heatmap = np.zeros((len(boxes.classes), *grid.shape), dtype=np.float32)
    for index in range(len(boxes)):
        radius = max(MIN_RADIUS, int(gaussian_radius(*(boxes.size[index, :2] / grid.cell_size), MIN_OVERLAP)))
        draw_gaussian(heatmap[boxes.label[index]], row[index], column[index], radius)
    group = boxes.classes.group_of_label[boxes.label]
    codes = np.where(
        learnable_codes(boxes.classes, coding)[boxes.label], coding.encode(boxes, row, column, grid), np.nan
    )
    return DetectionTargets(heatmap, group, row, column, codes.astype(np.float32), boxes, coding, grid.cell_size)


def learnable_codes(classes: ClassList, coding: BoxCoding) -> np.ndarray:
    """Which codes each class has, bool (classes, codes): no directions and headings that it does not define.

    Heading.vector keeps them: its channels were always trained on all.
    """
    has = np.ones((len(classes), len(coding.names)), dtype=bool)
    if coding.heading is Heading.axis:
        defined = np.array([kind.heading for kind in classes.classes])
        has[defined != "full", coding.directions] = False
        has[defined == "none", coding.headings] = False
    return has


def gaussian_radius(length: float, width: float, overlap: float) -> float:
    """Largest shift of a box's corners, in cells, that keeps an intersection over union of `overlap` (CornerNet,
    arXiv:1808.01244).

    The smallest of three cases: both corners shifted alike, both inwards, both outwards.
    """
    area, total = length * width, length + width
    alike = (total - np.sqrt(total**2 - 4.0 * area * (1.0 - overlap) / (1.0 + overlap))) / 2.0
    inwards = (total - np.sqrt(total**2 - 4.0 * area * (1.0 - overlap))) / 4.0
    outwards = (np.sqrt(total**2 + 4.0 * area * (1.0 / overlap - 1.0)) - total) / 4.0
    return float(min(alike, inwards, outwards))


def draw_gaussian(heatmap: np.ndarray, row: int, column: int, radius: int) -> None:
    """Raise `heatmap` (rows, columns) in place to a Gaussian of peak 1 at the cell; sigma is a sixth of its width."""
    sigma = (2 * radius + 1) / 6.0
    offsets = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2.0 * sigma**2))
    top, left = max(0, row - radius), max(0, column - radius)
    window = heatmap[top : row + radius + 1, left : column + radius + 1]
    patch = offsets[top - row + radius :, None] * offsets[None, left - column + radius :]
    np.maximum(window, patch[: window.shape[0], : window.shape[1]], out=window)


def depth_labels(
    spec: StudentSpec, camera: Camera, returns: CameraReturns, network_from_image: np.ndarray
) -> np.ndarray:
    """Range bin (feature rows, columns) int64 of each feature pixel's nearest LiDAR return, NO_DEPTH without one."""
    rows, columns = spec.feature_size
    uv = (returns.pixels @ network_from_image[:2, :2].T + network_from_image[:2, 2]) / spec.view.stride
    bins = bin_of_range(spec.view.depth, returns.ranges, camera, network_from_image)
    cells = np.floor(uv).astype(np.int64)
    seen = (
        (cells >= 0).all(axis=1)
        & (cells[:, 0] < columns)
        & (cells[:, 1] < rows)
        & (bins >= 0)
        & (bins < spec.view.depth.count)
    )
    labels = np.full((rows, columns), spec.view.depth.count, dtype=np.int64)
    np.minimum.at(labels, (cells[seen, 1], cells[seen, 0]), bins[seen])
    return np.where(labels < spec.view.depth.count, labels, NO_DEPTH)
