"""The sensor rig of the synthetic world: nuScenes' six cameras and 32-beam LiDAR, mounted and calibrated like the
real cars.

The mountings are those of the nuScenes vehicles, rounded (arXiv:1903.11027); every scene varies them slightly, as
real vehicles do.
nuScenes' K puts pixel centres on integers, and so does everything here; K belongs to the image size that is rendered.
"""

from dataclasses import dataclass

import numpy as np

from kd_perception.transforms import make_transform

FULL_WIDTH, FULL_HEIGHT = 1600, 900  # the images nuScenes' K is given for
KEYFRAME_PERIOD_US = 500_000
SWEEP_PERIOD_US = 50_000
STEPS_PER_KEYFRAME = KEYFRAME_PERIOD_US // SWEEP_PERIOD_US


@dataclass(frozen=True)
class CameraMount:
    """Position in ego (m), viewing direction as yaw from ego's x axis (degrees, counter-clockwise), focal length and
    principal point (px).
    """

    channel: str
    position: tuple[float, float, float]
    yaw_deg: float
    focal: float
    principal: tuple[float, float]


CAMERA_MOUNTS = (
    CameraMount("CAM_FRONT", (1.70, 0.015, 1.51), 0.3, 1266.0, (816.0, 491.0)),
    CameraMount("CAM_FRONT_RIGHT", (1.55, -0.495, 1.50), -56.2, 1261.0, (808.0, 495.0)),
    CameraMount("CAM_BACK_RIGHT", (1.015, -0.48, 1.56), -110.6, 1259.0, (807.0, 501.0)),
    CameraMount("CAM_BACK", (0.03, 0.005, 1.58), 180.0, 809.0, (829.0, 482.0)),
    CameraMount("CAM_BACK_LEFT", (1.035, 0.485, 1.59), 108.7, 1257.0, (792.0, 493.0)),
    CameraMount("CAM_FRONT_LEFT", (1.525, 0.495, 1.51), 55.1, 1272.0, (826.0, 480.0)),
)
LIDAR_CHANNEL = "LIDAR_TOP"
CHANNELS = (*(mount.channel for mount in CAMERA_MOUNTS), LIDAR_CHANNEL)
LIDAR_POSITION = (0.943, 0.0, 1.84)
LIDAR_ELEVATION_DEG = tuple(np.linspace(-30.67, 10.67, 32).round(3).tolist())  # HDL-32E, ring 0 lowest as in nuScenes
LIDAR_COLUMNS = 1084  # firings per turn at 20 Hz


@dataclass(frozen=True, eq=False)
class CameraSensor:
    """One calibrated camera: K (3, 3) with integer pixel centres for width x height, mounting `ego_from_camera` (4,
    4).
    """

    channel: str
    intrinsics: np.ndarray
    ego_from_camera: np.ndarray
    width: int
    height: int

    def rays(self) -> np.ndarray:
        """Unit view directions (H * W, 3) in ego axes, row by row."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        focal_x, focal_y = self.intrinsics[0, 0], self.intrinsics[1, 1]
        optical = np.stack(
            [(u - self.intrinsics[0, 2]) / focal_x, (v - self.intrinsics[1, 2]) / focal_y, np.ones_like(u)], -1
        ).reshape(-1, 3)
        optical /= np.linalg.norm(optical, axis=1, keepdims=True)
        return (optical @ self.ego_from_camera[:3, :3].T).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Rig:
    """The calibrated sensors of one scene."""

    cameras: tuple[CameraSensor, ...]
    ego_from_lidar: np.ndarray


def scaled_intrinsics(focal: float, principal: tuple[float, float], width: int, height: int) -> np.ndarray:
    """K (3, 3) after resizing 1600x900 to `width` columns and cropping the TOP rows down to `height` (integer pixel
    centres).

    Raises ValueError if the resized image has fewer rows than `height`.
    """
    scale = width / FULL_WIDTH
    crop = round(FULL_HEIGHT * scale) - height
    if width <= 0 or height <= 0 or crop < 0:
        raise ValueError(
            f"image size {width}x{height} is no crop of a resized 1600x900 image; "
            f"for that width use 1 to {max(1, round(FULL_HEIGHT * scale))} rows"
        )
    cx, cy = ((value + 0.5) * scale - 0.5 for value in principal)
    return np.array([[focal * scale, 0.0, cx], [0.0, focal * scale, cy - crop], [0.0, 0.0, 1.0]])


def _optical_rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation matrix ego_from_camera of a camera looking along `yaw` (rad), tipped down by `pitch` and turned by
    `roll` about its axis.
    """
    forward = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    down = np.cross(forward, right)
    cos, sin = np.cos(roll), np.sin(roll)
    return np.column_stack([cos * right + sin * down, cos * down - sin * right, forward])


def build_rig(width: int, height: int, rng: np.random.Generator) -> Rig:
    """The nuScenes rig for images of `width` x `height`, with the small differences one vehicle has from the next."""
    cameras = []
    for mount in CAMERA_MOUNTS:
        focal = mount.focal * (1.0 + 0.003 * rng.standard_normal())
        principal = tuple(np.array(mount.principal) + 4.0 * rng.standard_normal(2))
        position = np.array(mount.position) + 0.01 * rng.standard_normal(3)
        pitch, roll, yaw = np.radians([0.4, 0.3, 0.5]) * rng.standard_normal(3)
        rotation = _optical_rotation(np.radians(mount.yaw_deg) + yaw, pitch, roll)
        cameras.append(
            CameraSensor(
                mount.channel,
                scaled_intrinsics(focal, principal, width, height),
                make_transform(rotation, position),
                width,
                height,
            )
        )
    # nuScenes' LiDAR frame: x to the vehicle's right, y forward, z up
    tilt = np.radians(0.3) * rng.standard_normal(2)
    turn = make_transform(np.array([np.cos(-np.pi / 4), 0, 0, np.sin(-np.pi / 4)]), np.zeros(3))[:3, :3]
    lean = np.array([[1, 0, tilt[0]], [0, 1, tilt[1]], [-tilt[0], -tilt[1], 1]])
    left, _, right = np.linalg.svd(lean @ turn)
    position = np.array(LIDAR_POSITION) + 0.01 * rng.standard_normal(3)
    return Rig(tuple(cameras), make_transform(left @ right, position))


def lidar_rays() -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (columns * 32, 3) in the LiDAR frame, in firing order, and the ring index (columns * 32,) of
    each.
    """
    azimuth = -np.arange(LIDAR_COLUMNS) * 2 * np.pi / LIDAR_COLUMNS  # clockwise seen from above
    elevation = np.radians(LIDAR_ELEVATION_DEG)
    az, el = np.meshgrid(azimuth, elevation, indexing="ij")
    directions = np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)], -1).reshape(-1, 3)
    return directions.astype(np.float32), np.tile(np.arange(32), LIDAR_COLUMNS)
