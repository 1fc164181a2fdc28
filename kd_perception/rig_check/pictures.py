"""Pictures of a rig: the cloud in every camera, coloured by range, and which camera sees which part of the ground."""

from collections.abc import Mapping

import cv2
import numpy as np

from kd_perception.drawing.bird_eye import BevView, ego_outline, range_rings
from kd_perception.drawing.cameras import FONT, caption
from kd_perception.drawing.style import BACKGROUND, TEXT_COLOR
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply
from kd_perception.rig_check.mounting import GRID

# One colour a camera (RGB), in the order of the bag; more cameras begin again.
CAMERA_COLORS = (
    (255, 168, 38), (84, 214, 255), (80, 236, 130), (255, 92, 178), (190, 120, 255), (236, 240, 90),
    (255, 105, 82), (80, 160, 255), (150, 164, 178), (222, 184, 90), (120, 255, 214), (255, 200, 200),
)  # fmt: skip
FARTHEST = 50.0  # metres: the colour of what is farther stays
BEV_SIZE = 900  # pixels
PATCH = 5  # radii of a drawn point: one is drawn in each square of this size
_TURBO = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_TURBO)[:, 0, ::-1]  # RGB, blue to red
EMPTY_SIZE = (640, 360)  # of the picture of a camera without an image


def draw_cloud(image: np.ndarray, camera: Camera, points: np.ndarray) -> np.ndarray:
    """The picture (any size of the camera's aspect) with the points (N, 3) in base_link that the camera sees.

    Near points are red, far ones blue. Of a dense cloud only the nearest point of each patch is drawn, so that the
    picture shows between them.
    """
    canvas = (image * 0.75).astype(np.uint8)
    scale = np.array([image.shape[1] / camera.width, image.shape[0] / camera.height])
    pixels, ranges, seen = camera.project(points)
    radius = max(1, round(image.shape[1] / 450))
    order = np.flatnonzero(seen)[np.argsort(ranges[seen], kind="stable")]
    patches = (pixels[order] * scale // (PATCH * radius)).astype(int)
    order = order[np.unique(patches, axis=0, return_index=True)[1]]
    shade = np.clip(255.0 * (1.0 - np.sqrt(ranges[order] / FARTHEST)), 0, 255).astype(np.uint8)
    colors = _TURBO[shade]
    for (u, v), color in zip((pixels[order] * scale).astype(int), colors, strict=True):
        cv2.circle(canvas, (int(u), int(v)), radius, color.tolist(), -1, cv2.LINE_AA)
    caption(canvas, f"{camera.name}: {seen.sum()} points")
    return canvas


def draw_unusable(image: np.ndarray | None, name: str, text: str) -> np.ndarray:
    """A camera that cannot be placed: its picture, or darkness, and why."""
    canvas = np.full((EMPTY_SIZE[1], EMPTY_SIZE[0], 3), BACKGROUND, np.uint8) if image is None else image // 3
    caption(canvas, f"{name}: {text}")
    return canvas


def draw_footprints(
    cameras: Mapping[str, Camera], footprints: Mapping[str, np.ndarray], points: np.ndarray
) -> np.ndarray:
    """Bird's-eye view (900, 900, 3), x up: the cells (rows, columns) of GRID that each camera sees, and the cloud."""
    light = np.zeros((*GRID.shape, 3))
    for index, name in enumerate(cameras):
        light += footprints[name][..., None] * np.array(CAMERA_COLORS[index % len(CAMERA_COLORS)]) * 0.38
    cells = np.clip(light + np.array(BACKGROUND), 0, 255).astype(np.uint8)
    canvas = cv2.resize(
        cells[::-1, ::-1].transpose(1, 0, 2).copy(), (BEV_SIZE, BEV_SIZE), interpolation=cv2.INTER_NEAREST
    )
    view = BevView(GRID.x_max, BEV_SIZE)
    range_rings(canvas, view)
    at = view.pixels(points[:, :2]).astype(int)
    at = at[((at >= 0) & (at < BEV_SIZE)).all(axis=1)]
    canvas[at[:, 1], at[:, 0]] = TEXT_COLOR
    ego_outline(canvas, view)
    for index, (name, camera) in enumerate(cameras.items()):
        color = CAMERA_COLORS[index % len(CAMERA_COLORS)]
        start = camera.ego_from_camera[:3, 3]
        tip = apply(camera.ego_from_camera, np.array([0.0, 0.0, 6.0]))
        ends = [tuple(np.round(view.pixels(point[:2])).astype(int).tolist()) for point in (start, tip)]
        cv2.arrowedLine(canvas, *ends, BACKGROUND, 5, cv2.LINE_AA, tipLength=0.25)
        cv2.arrowedLine(canvas, *ends, color, 2, cv2.LINE_AA, tipLength=0.25)
        cv2.rectangle(canvas, (10, 12 + 20 * index), (22, 24 + 20 * index), color, -1)
        cv2.putText(canvas, name, (29, 23 + 20 * index), FONT, 0.45, TEXT_COLOR, 1, cv2.LINE_AA)
    return canvas
