"""Labels and calibration of KITTI's object benchmark (Geiger et al., CVPR 2012), to boxes and cameras in ego, and back.

KITTI's boxes live in the rectified frame of camera 0 (x right, y down, z forward): the centre of the BOTTOM face,
height, width and length, and `rotation_y` about the camera's y. Ego is the velodyne's origin dropped to the ground.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import apply, invert, make_transform, wrap_angle

LIDAR_HEIGHT = 1.73  # metres above the ground, by KITTI's sensor setup
DONT_CARE = "DontCare"
KINDS = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc")
SCENE_PREFIX = "kitti-"  # of an imported frame's scene, before the frame's name
FIELDS = 15  # of a label's row; results have a score behind them
# x forward, y left, z up from x right, y down, z forward
UPRIGHT_FROM_OPTICAL = make_transform(np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]), np.zeros(3))


@dataclass(frozen=True, eq=False)
class KittiObject:
    """A row of a label or result file. `box`: left, top, right, bottom in pixels of camera 2; `size`: height, width,
    length; `location`: centre of the bottom face in the rectified frame, metres; `rotation_y` radians; `score` of a
    result."""

    kind: str
    truncated: float
    occluded: int
    alpha: float
    box: np.ndarray
    size: np.ndarray
    location: np.ndarray
    rotation_y: float
    score: float | None = None

    def row(self) -> str:
        """The object as a row of a label file; a result has two more decimals, and its score."""
        numbers = [self.alpha, *self.box, *self.size, *self.location, self.rotation_y]
        begin = f"{self.kind} {self.truncated:.2f} {self.occluded} "
        if self.score is None:
            return begin + " ".join(f"{value:.2f}" for value in numbers)
        return begin + " ".join(f"{value:.4f}" for value in numbers) + f" {self.score:.6f}"


@dataclass(frozen=True, eq=False)
class KittiCalibration:
    """Matrices of a frame: `projections` P0 to P3 (3, 4) by their number, and `rect_from_velo` (4, 4)."""

    projections: Mapping[int, np.ndarray] = field(repr=False)
    rect_from_velo: np.ndarray = field(repr=False)

    @cached_property
    def ego_from_velo(self) -> np.ndarray:
        """The velodyne above ego's origin, with the same axes."""
        return make_transform(np.eye(3), np.array([0.0, 0.0, LIDAR_HEIGHT]))

    @cached_property
    def ego_from_rect(self) -> np.ndarray:
        """Where the rectified frame of camera 0 is in ego."""
        return self.ego_from_velo @ invert(self.rect_from_velo)

    def camera(self, number: int, width: int, height: int) -> Camera:
        """Camera `number`: its P is K [I | t], where t holds the baseline to camera 0."""
        projection = self.projections[number]
        intrinsics = projection[:, :3]
        camera_from_rect = make_transform(np.eye(3), np.linalg.solve(intrinsics, projection[:, 3]))
        mounting = self.ego_from_rect @ invert(camera_from_rect)
        return Camera.from_integer_centred(f"image_{number}", intrinsics, mounting, width=width, height=height)


def read_calibration(path: Path) -> KittiCalibration:
    """A file of `calib`; raises DataError naming a matrix that is missing or unfit."""
    lines = (line.split(":", 1) for line in _text(path).splitlines() if ":" in line)
    given = {name.strip(): values.split() for name, values in lines}
    rotation = _matrix(path, given, "R0_rect", (3, 3))
    transform = _matrix(path, given, "Tr_velo_to_cam", (3, 4))
    rect_from_cam = make_transform(_nearest_rotation(rotation), np.zeros(3))
    cam_from_velo = make_transform(_nearest_rotation(transform[:, :3]), transform[:, 3])
    projections = {number: _matrix(path, given, f"P{number}", (3, 4)) for number in range(4) if f"P{number}" in given}
    return KittiCalibration(projections, rect_from_cam @ cam_from_velo)


def read_labels(path: Path) -> list[KittiObject]:
    """All rows of a file of `label_2`, DontCare included; raises DataError naming the first row that is none."""
    return [_object(path, number, line) for number, line in enumerate(_text(path).splitlines(), 1) if line.strip()]


def read_results(path: Path) -> list[KittiObject]:
    """All rows of a result file; raises DataError naming the first row that is none, a DontCare among them."""
    rows = read_labels(path)
    for row in rows:
        if row.score is None:
            raise DataError(
                f"{path} has a {row.kind} without a score; results have {FIELDS + 1} columns, the score last"
            )
        if (row.box[2:] < row.box[:2]).any():
            raise DataError(
                f"{path}: {row.kind} at {row.box.tolist()} pixels ends before it begins; write left, top, right, bottom"
            )
        if row.kind == DONT_CARE:
            raise DataError(f"{path} detects {DONT_CARE}, which only labels have; leave these rows out")
    return rows


def read_names(path: Path) -> list[str]:
    """Frames of a list as KITTI's ImageSets/train.txt has them, one a line."""
    try:
        names = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of frames {path} cannot be read ({error})") from error
    if not names:
        raise DataError(f"the list of frames {path} is empty; write one frame a line, e.g. 000000")
    return names


def boxes_in_ego(objects: Sequence[KittiObject], calibration: KittiCalibration) -> Boxes:
    """The objects' boxes in ego, labels all 0: geometric centres, length, width, height, yaw about z.

    Raises nothing; DontCare has no box and does not belong here.
    """
    count = len(objects)
    if not count:
        return Boxes.empty()
    height, width, length = np.array([entry.size for entry in objects]).T
    bottom = np.array([entry.location for entry in objects])
    turn = np.array([entry.rotation_y for entry in objects])
    upright = Boxes(
        center=apply(UPRIGHT_FROM_OPTICAL, bottom - np.stack([0 * height, height / 2.0, 0 * height], axis=1)),
        size=np.stack([length, width, height], axis=1),
        yaw=wrap_angle(-turn - np.pi / 2.0),
        velocity=np.full((count, 2), np.nan),
        label=np.zeros(count, np.int64),
        score=np.ones(count),
    )
    return upright.transformed(calibration.ego_from_rect @ invert(UPRIGHT_FROM_OPTICAL))


def place_in_rect(boxes: Boxes, calibration: KittiCalibration) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Size (N, 3) height, width, length; location (N, 3) and rotation_y (N,) of ego boxes, as label files have them."""
    upright = boxes.transformed(UPRIGHT_FROM_OPTICAL @ invert(calibration.ego_from_rect))
    location = apply(invert(UPRIGHT_FROM_OPTICAL), upright.center)
    location[:, 1] += boxes.size[:, 2] / 2.0
    return boxes.size[:, [2, 1, 0]], location, wrap_angle(-upright.yaw - np.pi / 2.0)


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """Files round to seven digits; what is made of them must stay rigid."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _matrix(path: Path, given: Mapping[str, Sequence[str]], name: str, shape: tuple[int, int]) -> np.ndarray:
    try:
        matrix = np.array([float(value) for value in given[name]]).reshape(shape)
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} has no {name} of {shape[0] * shape[1]} numbers; restore the file") from error
    if not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix[:, :3]) < 3:
        raise DataError(f"{name} in {path} is no calibration: {matrix.tolist()}; restore the file")
    return matrix


def _object(path: Path, number: int, line: str) -> KittiObject:
    kind, *values = line.split()
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) not in (FIELDS - 1, FIELDS) or not np.isfinite(numbers).all():
        raise DataError(
            f"{path}, line {number} is no label of {FIELDS} columns of finite numbers ('{line[:60]}'); restore the file"
        )
    if kind != DONT_CARE and not (numbers[7:10] > 0.0).all():
        raise DataError(f"{path}, line {number}: {kind} has no size ({numbers[7:10].tolist()}); correct the label")
    places = numbers[3:7], numbers[7:10], numbers[10:13]
    score = float(numbers[FIELDS - 1]) if len(numbers) == FIELDS else None
    return KittiObject(kind, numbers[0], int(numbers[1]), numbers[2], *places, rotation_y=numbers[13], score=score)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); restore it") from error
