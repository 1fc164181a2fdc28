"""Frames as a rerun recording (rerun.io), which an optional extra installs.

Two time lines: `stamp`, the time of the boxes, and `frame`, their number; a picture says how far from it it was taken.
The 3D scene is in ego. Boxes on pictures are projected here, through the lens, so that fisheyes get no frustum at all.
"""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from shapely import LineString, clip_by_rect, get_coordinates, get_parts

from kd_perception.atomic import atomic_path
from kd_perception.drawing.cameras import box_lines
from kd_perception.drawing.style import GROUND_TRUTH_COLOR, Color
from kd_perception.errors import ConfigError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import quaternion_from_yaw
from kd_perception.recordings.foxglove import FAULT_COLORS
from kd_perception.recordings.viewed_frame import Fault, FaultKind, ViewedFrame, ViewedImage

if TYPE_CHECKING:
    import rerun

APPLICATION = "kd view"
SCENE, FROM_ABOVE, PICTURES, HEATMAPS = "scene", "from_above", "pictures", "heatmaps"
SCORES, COUNTS, REASONS, TITLE = "scores", "counts", "reasons", "title"
FISHEYE = "equidistant"
POINT, THIN, THICK = -1.0, -0.7, -1.5  # radii in points of the screen, which rerun has negative
PANEL_LETTERS = 24
CLOUD_COLOR: Color = (105, 122, 146)
SEEN_M = 60.0  # to each side: points further away would make all else small
FRUSTUM_M = 2.0  # metres from a camera to its picture in the 3D scene
ALL_EDGES = (0, 1, 2, 3, 0, 4, 5, 1, 5, 6, 2, 6, 7, 3, 7, 4)  # of Boxes.corners: a walk that passes some edges twice


def require_rerun() -> None:
    """Raise ConfigError with the command that installs rerun where it is absent."""
    try:
        import rerun  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "rerun is not installed, which shows these recordings; install it with 'pip install -r "
            "requirements/viewer.txt', or save an .mcap file for Foxglove"
        ) from error


@contextmanager
def rerun_file(path: Path) -> Iterator["RerunRecording"]:
    """The .rrd file at `path`, which is there when the block ends well, and not at all when it raises."""
    require_rerun()
    import rerun

    with atomic_path(path) as temporary:
        stream = rerun.RecordingStream(APPLICATION)
        stream.save(temporary)
        yield RerunRecording(stream)
        stream.disconnect()


@contextmanager
def rerun_window() -> Iterator["RerunRecording"]:
    """A viewer of its own, which stays open; frames appear in it as they are written."""
    require_rerun()
    import rerun

    stream = rerun.RecordingStream(APPLICATION)
    stream.spawn()
    yield RerunRecording(stream)
    stream.flush()


class RerunRecording:
    """Frames as rerun's entities; the first frame decides which views there are."""

    def __init__(self, stream: "rerun.RecordingStream") -> None:
        self._stream = stream
        self._frames = 0

    def write(self, frame: ViewedFrame) -> None:
        """Append a frame."""
        import rerun

        if not self._frames:
            self._stream.send_blueprint(_layout(frame))
            self._stream.log(SCENE, rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
            for kind in frame.classes.classes:
                self._stream.log(f"{SCORES}/{kind.name}", rerun.SeriesLines(colors=kind.color), static=True)
            for kind, color in FAULT_COLORS.items():
                self._stream.log(f"{COUNTS}/{kind.value}", rerun.SeriesLines(colors=color), static=True)
        self._stream.set_time("frame", sequence=self._frames)
        self._stream.set_time("stamp", timestamp=np.datetime64(frame.stamp_ns, "ns"))
        self._frames += 1
        self._stream.log(TITLE, rerun.TextDocument(frame.title))
        for image in frame.images:
            self._log_image(image, frame)
        if frame.cloud is not None:
            near = frame.cloud[(np.abs(frame.cloud[:, :2]) < SEEN_M).all(axis=1)]
            self._stream.log(f"{SCENE}/cloud", rerun.Points3D(near, radii=POINT, colors=CLOUD_COLOR))
            self._stream.log(f"{FROM_ABOVE}/cloud", rerun.Points2D(_above(near), radii=POINT, colors=CLOUD_COLOR))
        self._log_boxes(frame)
        self._log_faults(frame)
        for name, heatmap in frame.heatmaps.items():
            self._stream.log(f"{HEATMAPS}/{name}", rerun.Image(heatmap_picture(heatmap)))

    def _log_image(self, image: ViewedImage, frame: ViewedFrame) -> None:
        import rerun

        camera, path = image.camera, picture_path(image.camera)
        if path.startswith(SCENE):
            mounting = camera.ego_from_camera
            self._stream.log(
                path,
                rerun.Transform3D(translation=mounting[:3, 3], mat3x3=mounting[:3, :3]),
                rerun.Pinhole(
                    image_from_camera=camera.intrinsics,
                    resolution=(camera.width, camera.height),
                    camera_xyz=rerun.ViewCoordinates.RDF,
                    image_plane_distance=FRUSTUM_M,
                ),
            )
        after_ms = (image.stamp_ns - frame.stamp_ns) / 1e6
        self._stream.log(
            f"{path}/picture",
            rerun.EncodedImage(contents=image.data, media_type=f"image/{image.format}"),
            rerun.AnyValues(taken_ms_after_stamp=after_ms),
        )
        for name, boxes, color in _layers(frame):
            drawn = [(i, line) for i in range(len(boxes)) for line in _lines_in_picture(boxes, i, camera)]
            colors = [color or _class_color(boxes, i) for i, _ in drawn]
            self._stream.log(
                f"{path}/{name}", rerun.LineStrips2D([line for _, line in drawn], colors=colors, radii=THIN)
            )

    def _log_boxes(self, frame: ViewedFrame) -> None:
        import rerun

        if (found := frame.right(FaultKind.MISSED)) is not None:
            shown = {"colors": GROUND_TRUTH_COLOR, "radii": THIN, "labels": _names(found), "show_labels": False}
            self._stream.log(f"{SCENE}/ground_truth", rerun.LineStrips3D(_outlines(found), **shown))
            self._stream.log(f"{FROM_ABOVE}/ground_truth", rerun.LineStrips2D(_outlines_above(found), **shown))
        if (right := frame.right(FaultKind.FALSE)) is not None:
            colors = [_class_color(right, i) for i in range(len(right))]
            shown = {"colors": colors, "radii": THICK, "labels": _labels(right), "show_labels": False}
            self._stream.log(f"{SCENE}/predictions", rerun.Boxes3D(**_box_geometry(right), **shown))
            self._stream.log(f"{FROM_ABOVE}/predictions", rerun.LineStrips2D(_outlines_above(right), **shown))
            self._log_scores(frame)

    def _log_scores(self, frame: ViewedFrame) -> None:
        """Best score of each class in sight, and how many boxes were found, missed and invented."""
        import rerun

        boxes = frame.predictions
        for label in np.unique(boxes.label):
            best = float(boxes.score[boxes.label == label].max())
            self._stream.log(f"{SCORES}/{boxes.classes.names[label]}", rerun.Scalars(best))
        self._stream.log(f"{COUNTS}/predictions", rerun.Scalars(len(boxes)))
        if frame.ground_truth is not None:
            for kind in FaultKind:
                self._stream.log(f"{COUNTS}/{kind.value}", rerun.Scalars(sum(1 for _ in frame.faults_of(kind))))

    def _log_faults(self, frame: ViewedFrame) -> None:
        """An entity for each fault: whoever clicks it reads the reason in the selection panel.

        A faulty box is drawn here alone: of two on top of each other a click would take either.
        """
        import rerun

        for kind in FaultKind:
            for view in (SCENE, FROM_ABOVE):
                self._stream.log(f"{view}/{kind.value}", rerun.Clear(recursive=True))  # those of the last frame
            for number, fault in enumerate(frame.faults_of(kind)):
                self._log_fault(fault, f"{kind.value}/{number:02d}")

    def _log_fault(self, fault: Fault, name: str) -> None:
        import rerun

        color, reason = FAULT_COLORS[fault.kind], rerun.AnyValues(reason=fault.reason, **_lines(fault.reason))
        shown = {"colors": color, "labels": fault.reason, "show_labels": False}
        self._stream.log(
            f"{SCENE}/{name}",
            rerun.Boxes3D(**_box_geometry(fault.box), radii=THICK, **shown),
            reason,
        )
        self._stream.log(
            f"{FROM_ABOVE}/{name}", rerun.LineStrips2D(_outlines_above(fault.box), radii=THICK, **shown), reason
        )
        self._stream.log(f"{REASONS}/{name}", rerun.TextLog(fault.reason, level=fault.kind.name, color=color))


def picture_path(camera: Camera) -> str:
    """Where a camera's picture is: in the 3D scene, or next to it if no pinhole describes its lens."""
    name = camera.name.strip("/").replace("/", "_").replace(" ", "_")
    return f"{PICTURES if camera.distortion_model == FISHEYE else SCENE}/{name}"


def heatmap_picture(heatmap: np.ndarray) -> np.ndarray:
    """RGB picture (columns, rows, 3) of a heatmap (classes, rows, columns), seen from above: x ahead is up."""
    best = np.clip(heatmap.max(axis=0), 0.0, 1.0)
    turned = np.ascontiguousarray((255.0 * best.T[::-1, ::-1]).astype(np.uint8))
    return cv2.cvtColor(cv2.applyColorMap(turned, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def _layers(frame: ViewedFrame) -> Iterator[tuple[str, Boxes, Color | None]]:
    """Boxes that are drawn on pictures: name, boxes, and their colour unless that is their class's."""
    if frame.ground_truth is not None:
        yield "ground_truth", frame.ground_truth, GROUND_TRUTH_COLOR
    if frame.predictions is not None:
        yield "predictions", frame.predictions, None


def _lines_in_picture(boxes: Boxes, index: int, camera: Camera) -> list[np.ndarray]:
    """A box's edges as lines (K, 2) of pixels, cut at the picture's border: rerun shows all that is drawn."""
    lines = [line[np.isfinite(line).all(axis=1)] for line in box_lines(boxes.corners()[index], camera)]
    clipped = [clip_by_rect(LineString(line), 0, 0, camera.width, camera.height) for line in lines if len(line) > 1]
    return [get_coordinates(part) for whole in clipped for part in get_parts(whole)]


def _box_geometry(boxes: Boxes) -> dict[str, np.ndarray]:
    """centers (N, 3), half_sizes (N, 3) and quaternions (N, 4) x, y, z, w, as rerun has them."""
    wxyz = np.array([quaternion_from_yaw(float(yaw)) for yaw in boxes.yaw]).reshape(-1, 4)
    return {"centers": boxes.center, "half_sizes": boxes.size / 2.0, "quaternions": np.roll(wxyz, -1, axis=1)}


def _outlines(boxes: Boxes) -> list[np.ndarray]:
    """One line (16, 3) along all edges of each box."""
    return [corners[list(ALL_EDGES)] for corners in boxes.corners()]


def _outlines_above(boxes: Boxes) -> list[np.ndarray]:
    """One line (7, 2) of each box as seen from above: from its centre to its front and once around."""
    lines = []
    for corners, center in zip(boxes.corners(), boxes.center, strict=True):
        front = (corners[0] + corners[1]) / 2.0
        lines.append(_above(np.stack([center, front, *corners[[0, 3, 2, 1]], front])))
    return lines


def _above(points: np.ndarray) -> np.ndarray:
    """Ego points (N, 3) in the view from above (N, 2): x ahead is up, y left is left."""
    return np.stack([-points[:, 1], -points[:, 0]], axis=1)


def _lines(reason: str) -> dict[str, str]:
    """A sentence as numbered lines: the selection panel cuts what is longer than one."""
    lines = textwrap.wrap(reason, PANEL_LETTERS)
    return {f"why_{number:02d}": line for number, line in enumerate(lines, start=1)}


def _names(boxes: Boxes) -> list[str]:
    return [boxes.class_of(index).name for index in range(len(boxes))]


def _labels(boxes: Boxes) -> list[str]:
    return [f"{name} {score:.2f}" for name, score in zip(_names(boxes), boxes.score, strict=True)]


def _class_color(boxes: Boxes, index: int) -> Color:
    return boxes.class_of(index).color


def _layout(frame: ViewedFrame) -> "rerun.blueprint.Blueprint":
    """3D scene, view from above and heatmaps, pictures, curves and reasons; the selection panel is open."""
    from rerun import blueprint

    cameras = [
        blueprint.Spatial2DView(origin=picture_path(image.camera), name=image.camera.name) for image in frame.images
    ]
    heatmaps = [
        blueprint.Spatial2DView(origin=f"{HEATMAPS}/{name}", name=f"heatmap of the {name}") for name in frame.heatmaps
    ]
    above = blueprint.Spatial2DView(origin=FROM_ABOVE, name="from above")
    texts = blueprint.Tabs(
        blueprint.TextLogView(origin=REASONS, name="reasons"), blueprint.TextDocumentView(origin=TITLE, name="frame")
    )
    curves = blueprint.Horizontal(
        blueprint.TimeSeriesView(origin=SCORES, name="best score of each class"),
        blueprint.TimeSeriesView(origin=COUNTS, name="boxes"),
    )
    pictures = [blueprint.Grid(*cameras, grid_columns=3)] if cameras else []
    maps = [blueprint.Horizontal(*heatmaps)] if heatmaps else []
    left = [blueprint.Spatial3DView(origin=SCENE, name="scene"), *pictures, texts]
    right = [above, *maps, curves]
    return blueprint.Blueprint(
        blueprint.Horizontal(blueprint.Vertical(*left), blueprint.Vertical(*right), column_shares=[3, 2]),
        blueprint.SelectionPanel(expanded=True),
        blueprint.TimePanel(expanded=False),
        blueprint.BlueprintPanel(expanded=False),
    )
