"""From a student's output maps to boxes: peaks, box codes, circle NMS (CenterPoint, arXiv:2006.11275), in NumPy.

The same code decodes in training, on the robot and in evaluation.
"""

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS, BoxCoding


def decode(
    heatmap: np.ndarray,
    regression: np.ndarray,
    grid: BevGrid,
    score_threshold: float,
    *,
    classes: ClassList = NUSCENES,
    coding: BoxCoding = AXIS,
    max_boxes: int = 500,
) -> Boxes:
    """Boxes in base_link, best score first.

    heatmap (classes, rows, columns) in [0, 1]; regression (groups, codes, rows, columns) as `coding` names them. A box
    is a 3x3 local maximum of its class, not below `score_threshold` and outside its group's NMS radius of better boxes.
    Raises ValueError for another number of codes.
    """
    if regression.shape[1] != len(coding.names):
        raise ValueError(
            f"regression has {regression.shape[1]} codes, but the coding '{coding.heading}' has {len(coding.names)}"
        )
    peaks = heatmap * (heatmap >= _neighbour_maximum(heatmap)) * (heatmap >= score_threshold)
    label, row, column = np.nonzero(peaks)
    score = peaks[label, row, column]
    best = np.argsort(-score, kind="stable")[:max_boxes]
    label, row, column, score = label[best], row[best], column[best], score[best]
    group = classes.group_of_label[label]
    codes = regression[group, :, row, column].astype(np.float64)
    boxes = Boxes(
        center=coding.center(codes, row, column, grid),
        size=coding.size(codes),
        yaw=coding.yaw(codes),
        velocity=coding.velocity(codes),
        label=label.astype(np.int64),
        score=score.astype(np.float64),
        classes=classes,
    )
    return boxes[_circle_nms(boxes.center[:, :2], group, classes)]


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
