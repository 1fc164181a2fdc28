"""From a student's output maps to boxes: peaks, box codes, circle NMS (CenterPoint, arXiv:2006.11275), in NumPy.

The same code decodes in training, on the robot and in evaluation.
"""

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.grid import BevGrid

# Channels of `regression` (groups, 10, rows, columns), in order:
#   dx, dy              box centre minus cell centre, in cells
#   z                   height of the box centre above base_link, metres
#   log_l, log_w, log_h logarithm of the size in metres
#   sin, cos            of the yaw
#   vx, vy              velocity over ground in base_link's axes, metres per second
REGRESSION_CODES = ("dx", "dy", "z", "log_l", "log_w", "log_h", "sin", "cos", "vx", "vy")
MAX_LOG_SIZE = 4.0  # e^4 = 55 m: an untrained or broken regression must not overflow


def decode(
    heatmap: np.ndarray,
    regression: np.ndarray,
    grid: BevGrid,
    score_threshold: float,
    *,
    classes: ClassList = NUSCENES,
    max_boxes: int = 500,
) -> Boxes:
    """Boxes in base_link, best score first.

    heatmap (classes, rows, columns) in [0, 1]; regression (groups, 10, rows, columns) as REGRESSION_CODES. A box is a
    3x3 local maximum of its class, not below `score_threshold` and outside its group's NMS radius of better boxes.
    """
    peaks = heatmap * (heatmap >= _neighbour_maximum(heatmap)) * (heatmap >= score_threshold)
    label, row, column = np.nonzero(peaks)
    score = peaks[label, row, column]
    best = np.argsort(-score, kind="stable")[:max_boxes]
    label, row, column, score = label[best], row[best], column[best], score[best]
    group = classes.group_of_label[label]
    codes = regression[group, :, row, column].astype(np.float64)
    xy = grid.to_metres(np.stack([column + 0.5 + codes[:, 0], row + 0.5 + codes[:, 1]], axis=1))
    boxes = Boxes(
        center=np.column_stack([xy, codes[:, 2]]),
        size=np.exp(np.clip(codes[:, 3:6], -MAX_LOG_SIZE, MAX_LOG_SIZE)),
        yaw=np.arctan2(codes[:, 6], codes[:, 7]),
        velocity=codes[:, 8:10],
        label=label.astype(np.int64),
        score=score.astype(np.float64),
        classes=classes,
    )
    return boxes[_circle_nms(boxes.center[:, :2], group, classes)]


def encode(boxes: Boxes, rows: np.ndarray, columns: np.ndarray, grid: BevGrid) -> np.ndarray:
    """Regression codes (N, 10) of boxes at the given cells; the inverse of what `decode` reads there."""
    cells = grid.to_cells(boxes.center[:, :2])
    return np.column_stack([
        cells[:, 0] - columns - 0.5, cells[:, 1] - rows - 0.5, boxes.center[:, 2], np.log(boxes.size),
        np.sin(boxes.yaw), np.cos(boxes.yaw), boxes.velocity,
    ])  # fmt: skip


def _neighbour_maximum(heatmap: np.ndarray) -> np.ndarray:
    """Maximum over each cell's 3x3 neighbourhood, separably."""
    padded = np.pad(heatmap, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    vertical = np.maximum(np.maximum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    return np.maximum(np.maximum(vertical[:, :, :-2], vertical[:, :, 1:-1]), vertical[:, :, 2:])


def _circle_nms(xy: np.ndarray, group: np.ndarray, classes: ClassList) -> np.ndarray:
    """Indices kept of boxes sorted by falling score: none lies within its group's radius of a better kept one."""
    kept = np.ones(len(xy), dtype=bool)
    for index, head in enumerate(classes.groups):
        members = np.nonzero(group == index)[0]
        distance = np.linalg.norm(xy[members, None] - xy[None, members], axis=-1)
        for i, member in enumerate(members):
            if kept[member]:
                kept[members[i + 1 :][distance[i, i + 1 :] < head.nms_radius]] = False
    return np.nonzero(kept)[0]
