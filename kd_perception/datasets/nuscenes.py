"""nuScenes-format data sets: frames with a rig, image paths and poses, and ground truth as boxes.

Reads tables with nuscenes-devkit (imported on use). Tables may be partial and sensor files absent: what is missing is
named where it is needed. Conversions at this edge: size (w, l, h) -> (l, w, h), quaternions -> yaw, integer pixel
centres -> .5.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.clouds import COLUMN_TYPES, NUSCENES_COLUMNS, read_cloud
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera, seen_from_anchor
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import invert, make_transform

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

# nuScenes' rig, the default of the nodes' parameters; data sets name their cameras themselves.
CAMERA_CHANNELS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")


@dataclass(frozen=True)
class CameraImage:
    """One exposure: its calibration, file (maybe absent), time stamp in microseconds, and the pose of the ego that the
    camera is mounted on: the one at its own exposure, or at the anchor's after `at_anchor`.

    `path` is None where the tables have no exposure of the camera at this moment: it is masked.
    """

    camera: Camera
    path: Path | None
    timestamp_us: int
    global_from_ego: np.ndarray

    def read(self) -> bytes | None:
        """The encoded image as the file has it, None of a masked camera.

        Raises DataError naming a file that is missing or unreadable.
        """
        if self.path is None:
            return None
        try:
            return self.path.read_bytes()
        except FileNotFoundError as error:
            raise DataError(
                f"image {self.path} is missing; restore it or choose scenes whose files are there"
            ) from error
        except OSError as error:
            raise DataError(f"image {self.path} cannot be read ({error.strerror}); correct or restore it") from error


@dataclass(frozen=True)
class Frame:
    """A moment: anchor time (microseconds), ego pose at that time, images in rig order (anchor first).

    All cameras of the scene's rig are there; those without an exposure are masked.
    """

    sample_token: str
    scene: str
    timestamp_us: int
    global_from_ego: np.ndarray
    images: tuple[CameraImage, ...]

    @property
    def masked(self) -> tuple[str, ...]:
        """Names of the cameras without an exposure."""
        return tuple(image.camera.name for image in self.images if image.path is None)


def open_nuscenes(dataroot: Path, version: str, anchor: str = "") -> "Tables":
    """Load the tables; raises DataError naming a missing folder or table. `anchor` as `scene_rigs` takes it."""
    from kd_perception.datasets.tables import Tables

    dataroot = Path(dataroot)
    tables = tables_folder(dataroot, version)
    try:
        return Tables(dataroot, version, anchor)
    except (AssertionError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(
            f"the nuScenes tables in {tables} cannot be read ({error}); restore the missing or damaged table"
        ) from error


def tables_folder(dataroot: Path, version: str) -> Path:
    """The folder of the tables; raises DataError naming a missing folder or version."""
    if not dataroot.is_dir():
        raise DataError(f"data root {dataroot} does not exist; give the folder that holds samples/ and {version}/")
    tables = dataroot / version
    if not tables.is_dir():
        found = sorted(p.name for p in dataroot.iterdir() if (p / "sample.json").is_file())
        raise DataError(f"{dataroot} has no version '{version}' (found: {', '.join(found) or 'none'}); pass --version")
    return tables


def scene_names(nusc: "Tables") -> list[str]:
    """Names of all scenes, in table order."""
    return [scene["name"] for scene in nusc.scene]


def scene_row(nusc: "Tables", scene: str) -> dict:
    """The row of a scene by its name; raises DataError if there is no such scene."""
    rows = [row for row in nusc.scene if row["name"] == scene]
    if not rows:
        raise DataError(f"scene '{scene}' is not in {nusc.dataroot}; it has: {', '.join(scene_names(nusc)[:10])}")
    return rows[0]


def scene_samples(nusc: "Tables", scene: str) -> list[str]:
    """Sample tokens of a scene in time order; raises DataError if there is no such scene."""
    tokens, token = [], scene_row(nusc, scene)["first_sample_token"]
    while token:
        tokens.append(token)
        token = nusc.get("sample", token)["next"]
    return tokens


def load_frame(nusc: "Tables", sample_token: str) -> Frame:
    """The keyframe's images and poses; raises DataError if its scene has no camera, or the sample no sensor at all."""
    data = nusc.get("sample", sample_token)["data"]
    return make_frame(nusc, sample_token, [data.get(name, "") for name in nusc.rig_of(sample_token).cameras])


def make_frame(nusc: "Tables", sample_token: str, exposures: Sequence[str], *, is_keyframe: bool = True) -> Frame:
    """A moment of the scene of a sample from the sample_data tokens of the rig's cameras; '' masks a camera.

    Where the anchor is masked, the next camera gives the time; without any, a LiDAR of the sample.
    """
    rig = nusc.rig_of(sample_token)
    scene = nusc.get("scene", nusc.get("sample", sample_token)["scene_token"])["name"]
    if not rig.cameras:
        raise DataError(f"scene '{scene}' of {nusc.dataroot} has no camera; choose scenes with cameras")
    rows = [nusc.get("sample_data", token) for token in exposures if token] or rig.lidar_rows(nusc, sample_token)
    if not rows:
        raise DataError(
            f"sample {sample_token} of scene '{scene}' has no row of a camera or LiDAR in sample_data; restore them"
        )
    stamp_us, pose = rows[0]["timestamp"], ego_pose(nusc, rows[0])
    images = []
    for channel, token in zip(rig.cameras, exposures, strict=True):
        image = camera_image(nusc, token or rig.examples[channel])
        images.append(image if token else CameraImage(image.camera, None, stamp_us, pose))
    return Frame(sample_token if is_keyframe else "", scene, stamp_us, pose, tuple(images))


def camera_image(nusc: "Tables", sample_data_token: str) -> CameraImage:
    """One camera's exposure and calibration from its sample_data row."""
    row = nusc.get("sample_data", sample_data_token)
    calibration = nusc.get("calibrated_sensor", row["calibrated_sensor_token"])
    camera = Camera.from_integer_centred(
        name=row["channel"],
        intrinsics=np.asarray(calibration["camera_intrinsic"]),
        ego_from_camera=make_transform(np.asarray(calibration["rotation"]), np.asarray(calibration["translation"])),
        width=row["width"],
        height=row["height"],
        distortion_model=calibration.get("distortion_model", "none"),  # an extension: nuScenes' schema has no lens
        distortion=tuple(calibration.get("distortion", ())),
    )
    return CameraImage(camera, Path(nusc.dataroot) / row["filename"], row["timestamp"], ego_pose(nusc, row))


def at_anchor(frame: Frame) -> Frame:
    """The frame with every camera where it was at its own exposure, seen from the ego at the anchor's."""
    images = tuple(
        replace(
            image,
            camera=seen_from_anchor(image.camera, frame.global_from_ego, image.global_from_ego),
            global_from_ego=frame.global_from_ego,
        )
        for image in frame.images
    )
    return replace(frame, images=images)


def ego_pose(nusc: "Tables", sample_data: dict) -> np.ndarray:
    """`global_from_ego` (4, 4) at a sample_data row's time."""
    pose = nusc.get("ego_pose", sample_data["ego_pose_token"])
    return make_transform(np.asarray(pose["rotation"]), np.asarray(pose["translation"]))


def range_centre(nusc: "Tables", sample_token: str) -> np.ndarray:
    """Where in global (3,) the metric measures a sample's ranges from: the ego at its first LiDAR's time, as the devkit
    does with LIDAR_TOP, or at the frame's time where it has no LiDAR."""
    lidars = nusc.rig_of(sample_token).lidar_rows(nusc, sample_token)
    if lidars:
        return ego_pose(nusc, lidars[0])[:3, 3]
    return load_frame(nusc, sample_token).global_from_ego[:3, 3]


def sensor_transform(nusc: "Tables", sample_data: dict) -> np.ndarray:
    """`ego_from_sensor` (4, 4) of a sample_data row's calibrated sensor."""
    calibration = nusc.get("calibrated_sensor", sample_data["calibrated_sensor_token"])
    return make_transform(np.asarray(calibration["rotation"]), np.asarray(calibration["translation"]))


def read_lidar(nusc: "Tables", sample_data: dict) -> np.ndarray:
    """Points (N, 5) float32 in the LiDAR's frame: x, y, z, intensity, ring.

    Raises DataError if the file is absent, cut, or holds something else than the row declares.
    """
    columns, kind = sample_data.get("columns") or NUSCENES_COLUMNS, sample_data.get("column_type") or COLUMN_TYPES[0]
    return read_cloud(Path(nusc.dataroot) / sample_data["filename"], columns, kind)


@dataclass(frozen=True)
class Annotations:
    """A sample's annotated boxes of some classes, in global.

    Of each its count of LiDAR and RADAR points, -1 where unknown, and its attribute, '' where it has none.
    """

    boxes: Boxes
    points: np.ndarray
    attributes: tuple[str, ...]


def annotations(nusc: "Tables", sample_token: str, classes: ClassList = NUSCENES) -> Annotations:
    """The annotations whose category belongs to one of the classes; the others are left out."""
    rows = [nusc.sample_annotation[row] for row in nusc.sample_rows("sample_annotation", sample_token).tolist()]
    rows = [row for row in rows if row["category_name"] in classes.label_of_category]
    if not rows:
        return Annotations(Boxes.empty(classes), np.zeros(0, np.int64), ())
    width, length, height = np.array([row["size"] for row in rows]).T
    rotations = np.stack([make_transform(np.asarray(row["rotation"]), np.zeros(3)) for row in rows])
    boxes = Boxes(
        center=np.array([row["translation"] for row in rows]),
        size=np.stack([length, width, height], axis=1),
        yaw=np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]),
        velocity=np.stack([_velocity(nusc, row) for row in rows]),
        label=np.array([classes.label_of_category[row["category_name"]] for row in rows], dtype=np.int64),
        score=np.ones(len(rows)),
        classes=classes,
    )
    points = np.array([row["num_lidar_pts"] + row["num_radar_pts"] for row in rows])
    first = [row["attribute_tokens"][0] if row["attribute_tokens"] else "" for row in rows]
    names = tuple(nusc.get("attribute", token)["name"] if token else "" for token in first)
    return Annotations(boxes, points, names)


def ground_truth_boxes(
    nusc: "Tables", sample_token: str, global_from_ego: np.ndarray, classes: ClassList = NUSCENES
) -> tuple[Boxes, np.ndarray]:
    """Annotated boxes in ego, and each one's count of LiDAR and RADAR points, -1 where unknown.

    The metric drops boxes of 0 points.
    """
    found = annotations(nusc, sample_token, classes)
    return found.boxes.transformed(invert(global_from_ego)), found.points


def _velocity(nusc: "Tables", row: dict) -> np.ndarray:
    """Global velocity (2,) by the devkit's central difference, or the row's `velocity_global` in partial tables."""
    if row.get("velocity_global") is not None:
        return np.array(row["velocity_global"][:2], dtype=np.float64)
    return nusc.box_velocity(row["token"])[:2]
