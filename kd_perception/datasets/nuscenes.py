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

from kd_perception.errors import DataError
from kd_perception.geometry.boxes import CLASSES, Boxes
from kd_perception.geometry.camera import Camera, seen_from_anchor
from kd_perception.geometry.transforms import invert, make_transform

if TYPE_CHECKING:
    from nuscenes import NuScenes

CAMERA_CHANNELS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
ANCHOR = "CAM_FRONT"  # its exposure is the frame's time; the grid lives in ego at that instant
LIDAR = "LIDAR_TOP"


@dataclass(frozen=True)
class CameraImage:
    """One exposure: its calibration, file (maybe absent), time stamp in microseconds, and the pose of the ego that the
    camera is mounted on: the one at its own exposure, or at the anchor's after `at_anchor`."""

    camera: Camera
    path: Path
    timestamp_us: int
    global_from_ego: np.ndarray

    def read(self) -> bytes:
        """The encoded image as the file has it; raises DataError naming a missing file."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError as error:
            raise DataError(
                f"image {self.path} is missing; restore it or choose scenes whose files are there"
            ) from error


@dataclass(frozen=True)
class Frame:
    """A keyframe: anchor time (microseconds), ego pose at that time, images in rig order (anchor first)."""

    sample_token: str
    scene: str
    timestamp_us: int
    global_from_ego: np.ndarray
    images: tuple[CameraImage, ...]


def open_nuscenes(dataroot: Path, version: str) -> "NuScenes":
    """Load the tables; raises DataError naming a missing folder or table, or sensors that nothing here would read."""
    from nuscenes import NuScenes

    dataroot = Path(dataroot)
    if not dataroot.is_dir():
        raise DataError(f"data root {dataroot} does not exist; give the folder that holds samples/ and {version}/")
    tables = dataroot / version
    if not tables.is_dir():
        found = sorted(p.name for p in dataroot.iterdir() if (p / "sample.json").is_file())
        raise DataError(f"{dataroot} has no version '{version}' (found: {', '.join(found) or 'none'}); pass --version")
    try:
        nusc = NuScenes(version=version, dataroot=str(dataroot), verbose=False)
    except (AssertionError, OSError, ValueError, KeyError) as error:
        raise DataError(
            f"the nuScenes tables in {tables} cannot be read ({error}); restore the missing or damaged table"
        ) from error
    _refuse_other_sensors(nusc, tables)
    return nusc


def _refuse_other_sensors(nusc: "NuScenes", tables: Path) -> None:
    """Raise DataError if there are exposures or scans of channels that all readers here would leave out."""
    known = {"camera": CAMERA_CHANNELS, "lidar": (LIDAR,)}
    for kind, channels in known.items():
        used = {row["channel"] for row in nusc.sample_data if row["sensor_modality"] == kind}
        if others := sorted(used - set(channels)):
            raise DataError(
                f"{tables} has {kind} channels with other names than nuScenes': {', '.join(others)}; they would be "
                f"left out: rename each in sensor.json to one of {', '.join(channels)}, or remove its sample_data rows"
            )


def scene_names(nusc: "NuScenes") -> list[str]:
    """Names of all scenes, in table order."""
    return [scene["name"] for scene in nusc.scene]


def scene_samples(nusc: "NuScenes", scene: str) -> list[str]:
    """Sample tokens of a scene in time order; raises DataError if there is no such scene."""
    rows = [row for row in nusc.scene if row["name"] == scene]
    if not rows:
        raise DataError(f"scene '{scene}' is not in {nusc.dataroot}; it has: {', '.join(scene_names(nusc)[:10])}")
    tokens, token = [], rows[0]["first_sample_token"]
    while token:
        tokens.append(token)
        token = nusc.get("sample", token)["next"]
    return tokens


def load_frame(nusc: "NuScenes", sample_token: str, channels: Sequence[str] = CAMERA_CHANNELS) -> Frame:
    """The keyframe's images and poses; cameras the tables do not list are left out.

    Raises DataError if the anchor is not there.
    """
    sample = nusc.get("sample", sample_token)
    present = [channel for channel in channels if channel in sample["data"]]
    if ANCHOR not in present:
        raise DataError(f"sample {sample_token} has no {ANCHOR}, the camera that gives a frame its time")
    anchor = nusc.get("sample_data", sample["data"][ANCHOR])
    return Frame(
        sample_token=sample_token,
        scene=nusc.get("scene", sample["scene_token"])["name"],
        timestamp_us=anchor["timestamp"],
        global_from_ego=ego_pose(nusc, anchor),
        images=tuple(camera_image(nusc, sample["data"][channel]) for channel in present),
    )


def camera_image(nusc: "NuScenes", sample_data_token: str) -> CameraImage:
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


def ego_pose(nusc: "NuScenes", sample_data: dict) -> np.ndarray:
    """`global_from_ego` (4, 4) at a sample_data row's time."""
    pose = nusc.get("ego_pose", sample_data["ego_pose_token"])
    return make_transform(np.asarray(pose["rotation"]), np.asarray(pose["translation"]))


def sensor_transform(nusc: "NuScenes", sample_data: dict) -> np.ndarray:
    """`ego_from_sensor` (4, 4) of a sample_data row's calibrated sensor."""
    calibration = nusc.get("calibrated_sensor", sample_data["calibrated_sensor_token"])
    return make_transform(np.asarray(calibration["rotation"]), np.asarray(calibration["translation"]))


def read_lidar(nusc: "NuScenes", sample_data: dict) -> np.ndarray:
    """Points (N, 5) float32 in the LiDAR's frame: x, y, z, intensity, ring.

    Raises DataError if the file is absent or cut.
    """
    path = Path(nusc.dataroot) / sample_data["filename"]
    if not path.is_file():
        raise DataError(f"point cloud {path} is missing; restore it or choose a scene whose files are there")
    values = np.fromfile(path, dtype=np.float32)
    if len(values) % 5:
        raise DataError(
            f"point cloud {path} is truncated: {len(values)} numbers are not rows of five; restore the file"
        )
    return values.reshape(-1, 5)


def ground_truth_boxes(nusc: "NuScenes", sample_token: str, global_from_ego: np.ndarray) -> tuple[Boxes, np.ndarray]:
    """Annotated boxes of the ten classes in ego, and each one's count of LiDAR and RADAR points.

    The metric drops boxes without points.
    """
    from nuscenes.eval.detection.utils import category_to_detection_name

    rows, labels = [], []
    for token in nusc.get("sample", sample_token)["anns"]:
        row = nusc.get("sample_annotation", token)
        name = category_to_detection_name(row["category_name"])
        if name is not None:
            rows.append(row)
            labels.append(CLASSES.index(name))
    if not rows:
        return Boxes.empty(), np.zeros(0, np.int64)
    width, length, height = np.array([row["size"] for row in rows]).T
    rotations = np.stack([make_transform(np.asarray(row["rotation"]), np.zeros(3)) for row in rows])
    boxes = Boxes(
        center=np.array([row["translation"] for row in rows]),
        size=np.stack([length, width, height], axis=1),
        yaw=np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]),
        velocity=np.stack([_velocity(nusc, row) for row in rows]),
        label=np.array(labels, dtype=np.int64),
        score=np.ones(len(rows)),
    )
    points = np.array([row["num_lidar_pts"] + row["num_radar_pts"] for row in rows])
    return boxes.transformed(invert(global_from_ego)), points


def _velocity(nusc: "NuScenes", row: dict) -> np.ndarray:
    """Global velocity (2,) by the devkit's central difference, or the row's `velocity_global` in partial tables."""
    if row.get("velocity_global") is not None:
        return np.array(row["velocity_global"][:2], dtype=np.float64)
    return nusc.box_velocity(row["token"])[:2]
