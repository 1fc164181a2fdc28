"""A bird's-eye view of detections, ground truth and points around the ego, with OpenCV on RGB arrays."""

from collections.abc import Sequence

import cv2
import numpy as np

from kd_perception.drawing.cameras import FONT, SUBPIXEL
from kd_perception.drawing.style import (
    BACKGROUND,
    GRID_COLOR,
    GROUND_TRUTH_COLOR,
    MISSED_COLOR,
    TEXT_COLOR,
    Color,
)
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ObjectClass


def draw_bev(
    detections: Boxes,
    *,
    ground_truth: Boxes | None = None,
    points: np.ndarray | None = None,
    extent: float = 51.2,
    size: int = 900,
    missed: np.ndarray | None = None,
) -> np.ndarray:
    """Bird's-eye view (size, size, 3): ego in the middle, x (forward) up, y (left) to the left, `extent` metres to each
    side.

    detections, ground_truth (T): boxes in ego; points (N, >=3) in ego, coloured by height. Arrows show the displacement
    over the next second. `missed` (T,) bool marks ground truth that is drawn red instead of white.
    """
    canvas = np.full((size, size, 3), BACKGROUND, np.uint8)
    view = BevView(extent, size)
    range_rings(canvas, view)
    if points is not None:
        _points(canvas, view, points)
    ego_outline(canvas, view)
    if ground_truth is not None:
        red = np.zeros(len(ground_truth), bool) if missed is None else missed
        for outline, is_red in zip(ground_truth.corners()[:, :4, :2], red, strict=True):
            color, width = (MISSED_COLOR, 2) if is_red else (GROUND_TRUTH_COLOR, 1)
            _draw_lines(canvas, view.fixed(outline), color, width, closed=True)
    tint = canvas.copy()
    for index, outline in enumerate(detections.corners()[:, :4, :2]):
        cv2.fillPoly(tint, [view.fixed(outline)], detections.class_of(index).color, cv2.LINE_AA, SUBPIXEL)
    cv2.addWeighted(tint, 0.3, canvas, 0.7, 0.0, canvas)
    for index in np.argsort(detections.score):
        _bev_box(canvas, view, detections[index : index + 1])
    present = [kind for label, kind in enumerate(detections.classes.classes) if label in detections.label]
    _legend(canvas, present, ground_truth=ground_truth is not None, missed=missed is not None)
    return canvas


class BevView:
    """Metric x, y in ego -> picture pixels."""

    def __init__(self, extent: float, size: int) -> None:
        self.extent, self.scale = extent, size / (2.0 * extent)

    def pixels(self, xy: np.ndarray) -> np.ndarray:
        """(..., 2) x, y in metres -> (..., 2) u, v."""
        return (self.extent - np.asarray(xy)[..., ::-1]) * self.scale

    def fixed(self, xy: np.ndarray) -> np.ndarray:
        """The same in the fixed-point integers that OpenCV draws with, kept within what they can hold."""
        return np.round(np.clip(self.pixels(xy), -1e6, 1e6) * (1 << SUBPIXEL)).astype(np.int32)


def _bev_box(canvas: np.ndarray, view: BevView, box: Boxes) -> None:
    """Outline, heading tick, velocity arrow of a single box."""
    color = box.class_of(0).color
    heading = np.array([np.cos(box.yaw[0]), np.sin(box.yaw[0])])
    center = box.center[0, :2]
    _draw_lines(canvas, view.fixed(box.corners()[0, :4, :2]), color, 2, closed=True)
    nose = np.stack([center, center + heading * box.size[0, 0] / 2.0])
    _draw_lines(canvas, view.fixed(nose), color, 2, closed=False)
    velocity = box.velocity[0]
    if np.isfinite(velocity).all() and np.linalg.norm(velocity) > 0.5:
        start, end = np.round(view.pixels(np.stack([center, center + velocity]))).astype(int)
        cv2.arrowedLine(canvas, start.tolist(), end.tolist(), color, 1, cv2.LINE_AA, tipLength=0.2)


def range_rings(canvas: np.ndarray, view: BevView) -> None:
    """Circles around the ego every ten metres."""
    middle = view.pixels(np.zeros(2))
    fixed = np.round(middle * (1 << SUBPIXEL)).astype(int).tolist()
    for metres in range(10, int(view.extent * 1.42) + 1, 10):
        cv2.circle(canvas, fixed, round(metres * view.scale * (1 << SUBPIXEL)), GRID_COLOR, 1, cv2.LINE_AA, SUBPIXEL)
        if metres < view.extent:
            at = view.pixels(np.array([metres, 0.0])) + [4, -4]
            cv2.putText(canvas, f"{metres} m", at.astype(int).tolist(), FONT, 0.38, (110, 120, 134), 1, cv2.LINE_AA)


def _points(canvas: np.ndarray, view: BevView, points: np.ndarray) -> None:
    """Points as pixels, the highest on top, from slate (ground) to pale (3 m and more)."""
    points = points[np.isfinite(points[:, :3]).all(axis=1)]
    pixels = view.pixels(points[:, :2]).astype(np.int64)
    inside = ((pixels >= 0) & (pixels < len(canvas))).all(axis=1)
    pixels, height = pixels[inside], points[inside, 2]
    order = np.argsort(height)
    share = np.clip((height[order, None] + 0.3) / 3.3, 0.0, 1.0)
    low, high = np.array([62.0, 82.0, 110.0]), np.array([188.0, 214.0, 232.0])
    canvas[pixels[order, 1], pixels[order, 0]] = (low + (high - low) * share).astype(np.uint8)


def ego_outline(canvas: np.ndarray, view: BevView) -> None:
    """A car's outline with its nose up; nuScenes' ego frame sits at the rear axle."""
    shape = np.array([[3.4, 0.6], [3.7, 0.0], [3.4, -0.6], [3.0, -0.9], [-0.9, -0.9], [-0.9, 0.9], [3.0, 0.9]])
    cv2.fillPoly(canvas, [view.fixed(shape)], (90, 100, 116), cv2.LINE_AA, SUBPIXEL)
    _draw_lines(canvas, view.fixed(shape), TEXT_COLOR, 1, closed=True)


def _draw_lines(canvas: np.ndarray, points: np.ndarray, color: Color, width: int, *, closed: bool) -> None:
    """Lines through points in fixed-point pixels (`_View.fixed`)."""
    cv2.polylines(canvas, [points], isClosed=closed, color=color, thickness=width, lineType=cv2.LINE_AA, shift=SUBPIXEL)


def _legend(canvas: np.ndarray, kinds: Sequence[ObjectClass], *, ground_truth: bool, missed: bool) -> None:
    entries = [(kind.name.replace("_", " "), kind.color, -1) for kind in kinds]
    entries += [("ground truth (outline)", GROUND_TRUTH_COLOR, 1)] if ground_truth else []
    entries += [("missed", MISSED_COLOR, 2)] if missed else []
    for i, (text, color, thickness) in enumerate(entries):
        y = 18 + 18 * i
        cv2.rectangle(canvas, (10, y - 9), (20, y + 1), color, thickness)
        cv2.putText(canvas, text, (27, y), FONT, 0.42, TEXT_COLOR, 1, cv2.LINE_AA)
