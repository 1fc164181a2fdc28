"""Pictures of detections and ground truth in camera images, with OpenCV on RGB arrays.

Detections are drawn in their class's colour, ground truth as thin white outlines. The report, the visualizer node and
the docs use them; bird_eye.py draws the view from above.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from kd_perception.drawing.style import BACKGROUND, GROUND_TRUTH_COLOR, TEXT_COLOR, Color
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert

NEAR_PLANE = 0.3  # metres: what is nearer is cut off, so that boxes next to the camera draw as their visible part
EDGES = (
    (0, 1),
    (1, 2),
    (2, 3),
    (3, 0),
    (4, 5),
    (5, 6),
    (6, 7),
    (7, 4),
    (0, 4),
    (1, 5),
    (2, 6),
    (3, 7),
)  # of Boxes.corners
FRONT_FACE = (0, 1, 5, 4)
SUBPIXEL = 4  # bits of fraction that OpenCV's drawing takes
FONT = cv2.FONT_HERSHEY_SIMPLEX
GRID_LAYOUT = (("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"), ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"))
TALL_LAYOUT = (("CAM_FRONT", "CAM_BACK"), ("CAM_FRONT_LEFT", "CAM_FRONT_RIGHT"), ("CAM_BACK_LEFT", "CAM_BACK_RIGHT"))


def encode_image(image: np.ndarray, suffix: str = ".jpg") -> bytes:
    """An RGB uint8 image as a JPEG (quality 90) or, with suffix '.png', a PNG."""
    parameters = [cv2.IMWRITE_JPEG_QUALITY, 90] if suffix == ".jpg" else []
    return cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), parameters)[1].tobytes()


def draw_camera(
    image: np.ndarray, camera: Camera, detections: Boxes, *, ground_truth: Boxes | None = None, width: int = 800
) -> np.ndarray:
    """The image (h, w, 3), resized to `width`, with wireframes of ego boxes, front faces tinted, and scores.

    `detections` and `ground_truth` are in ego. The image may have any size of the camera's aspect.
    """
    scale = width / camera.width
    size = (width, round(camera.height * scale))
    canvas = cv2.resize(image, size, interpolation=cv2.INTER_AREA if image.shape[1] > width else cv2.INTER_CUBIC)
    thickness = max(1, round(width / 500))
    for box in range(len(ground_truth) if ground_truth is not None else 0):
        for line in box_lines(ground_truth.corners()[box], camera):
            _polyline(canvas, line * scale, GROUND_TRUTH_COLOR, 1)
    order = np.argsort(-np.linalg.norm(detections.center, axis=1))  # far boxes first, near ones over them
    for index, corners in zip(order, detections.corners()[order], strict=True):
        lines = box_lines(corners, camera)
        if not lines:
            continue
        kind = detections.class_of(index)
        _tint_front(canvas, corners, camera, scale, kind.color)
        for line in lines:
            _polyline(canvas, line * scale, kind.color, thickness)
        _label(canvas, np.concatenate(lines) * scale, f"{kind.name} {detections.score[index]:.2f}", kind.color)
    caption(canvas, camera.name)
    return canvas


def box_lines(corners: np.ndarray, camera: Camera) -> list[np.ndarray]:
    """A box's edges as polylines (K, 2) in the full-size image's pixels, cut at the near plane; none if out of sight.

    `corners` (8, 3) in ego, ordered as Boxes.corners. Edges bend with the lens.
    """
    local = apply(invert(camera.ego_from_camera), corners)
    lines = []
    for start, end in EDGES:
        around = camera.lens.max_angle > np.pi / 2.0  # then nothing has to be cut off at a plane in front
        clipped = (local[start], local[end]) if around else _clip_near(local[start], local[end])
        if clipped is not None:
            lines.append(_to_pixels(np.linspace(*clipped, 2 if camera.distortion_model == "none" else 17), camera))
    pixels = np.concatenate(lines) if lines else np.zeros((0, 2))
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(pixels) or (pixels.max(axis=0) < 0).any() or (pixels.min(axis=0) > [camera.width, camera.height]).any():
        return []
    return lines


def camera_grid(pictures: Mapping[str, np.ndarray], layout: Sequence[Sequence[str]] = GRID_LAYOUT) -> np.ndarray:
    """Camera pictures of one size, by name, side by side as a rig sees them; absent cameras stay dark, unknown ones
    follow below.
    """
    known = {name for row in layout for name in row}
    columns = max(map(len, layout))
    extra = sorted(set(pictures) - known)
    rows = [list(row) for row in layout if known & set(pictures)] + [
        extra[i : i + columns] for i in range(0, len(extra), columns)
    ]
    height = max(picture.shape[0] for picture in pictures.values())
    width = max(picture.shape[1] for picture in pictures.values())
    canvas = np.full((len(rows) * height, columns * width, 3), BACKGROUND, np.uint8)
    for i, row in enumerate(rows):
        for j, name in enumerate(row):
            if name in pictures:
                picture = pictures[name]
                canvas[i * height : i * height + picture.shape[0], j * width : j * width + picture.shape[1]] = picture
    return canvas


def _clip_near(start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The part of an edge in the camera frame that lies beyond the near plane, or None."""
    if max(start[2], end[2]) <= NEAR_PLANE:
        return None
    if min(start[2], end[2]) < NEAR_PLANE:
        cut = start + (end - start) * (NEAR_PLANE - start[2]) / (end[2] - start[2])
        start, end = (cut, end) if start[2] < NEAR_PLANE else (start, cut)
    return start, end


def _to_pixels(local: np.ndarray, camera: Camera) -> np.ndarray:
    """Points (K, 3) in the camera frame -> pixels (K, 2); NaN beyond the lens model's field of view."""
    pixels, visible = camera.project_local(local)
    return np.where(visible[:, None], pixels, np.nan)


def _polyline(canvas: np.ndarray, pixels: np.ndarray, color: Color, thickness: int) -> None:
    """Draw pixels (K, 2) with centres at .5; OpenCV centres them on integers."""
    pixels = pixels[np.isfinite(pixels).all(axis=1)] - 0.5
    fixed = np.round(np.clip(pixels, -1e6, 1e6) * (1 << SUBPIXEL)).astype(np.int32)
    cv2.polylines(
        canvas, [fixed], isClosed=False, color=color, thickness=thickness, lineType=cv2.LINE_AA, shift=SUBPIXEL
    )


def _tint_front(canvas: np.ndarray, corners: np.ndarray, camera: Camera, scale: float, color: Color) -> None:
    """Tint the front face, where it is wholly in front of the camera: it shows the heading."""
    local = apply(invert(camera.ego_from_camera), corners[list(FRONT_FACE)])
    if (local[:, 2] < NEAR_PLANE).any():
        return
    pixels = _to_pixels(local, camera) * scale - 0.5
    if not np.isfinite(pixels).all():
        return
    low = np.clip(np.floor(pixels.min(axis=0)), 0, None).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)) + 1, 0, [canvas.shape[1], canvas.shape[0]]).astype(int)
    if (high <= low).any():
        return
    region = canvas[low[1] : high[1], low[0] : high[0]]
    tint = region.copy()
    fixed = np.round((pixels - low) * (1 << SUBPIXEL)).astype(np.int32)
    cv2.fillPoly(tint, [fixed], color, cv2.LINE_AA, SUBPIXEL)
    cv2.addWeighted(tint, 0.35, region, 0.65, 0.0, region)


def _label(canvas: np.ndarray, pixels: np.ndarray, text: str, color: Color) -> None:
    """Text on a dark plate above a box, if the box is large enough to bear one."""
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if min(high - low) < canvas.shape[1] / 20 or (high < 0).any() or low[0] > canvas.shape[1]:
        return
    (width, height), _ = cv2.getTextSize(text, FONT, 0.36, 1)
    x = int(np.clip(low[0], 2, canvas.shape[1] - width - 4))
    y = int(np.clip(low[1] - 4, height + 4, canvas.shape[0] - 4))
    cv2.rectangle(canvas, (x - 2, y - height - 2), (x + width + 2, y + 3), BACKGROUND, -1)
    cv2.putText(canvas, text, (x, y), FONT, 0.36, color, 1, cv2.LINE_AA)


def caption(canvas: np.ndarray, text: str) -> None:
    """Text in the lower left corner."""
    for color, thickness in ((BACKGROUND, 3), (TEXT_COLOR, 1)):
        cv2.putText(canvas, text, (8, canvas.shape[0] - 8), FONT, 0.45, color, thickness, cv2.LINE_AA)
