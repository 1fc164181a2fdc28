"""The sensor rig of the synthetic world: nuScenes' six cameras and 32-beam LiDAR, mounted and calibrated like the
real cars.

The mountings are those of the nuScenes vehicles, rounded (arXiv:1903.11027); every scene varies them slightly, as
real vehicles do.
nuScenes' K puts pixel centres on integers, and so does everything here; K belongs to the image size that is rendered.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from transforms3d.euler import euler2mat

from kd_perception.geometry.camera import Camera
from kd_perception.geometry.transforms import make_transform

FULL_WIDTH, FULL_HEIGHT = 1600, 900  # the images nuScenes' K is given for
KEYFRAME_PERIOD_US = 500_000
SWEEP_PERIOD_US = 50_000
STEPS_PER_KEYFRAME = KEYFRAME_PERIOD_US // SWEEP_PERIOD_US
SWEEPS_PER_SECOND = 1_000_000 // SWEEP_PERIOD_US


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
    4), and its lens as in sensor_msgs/CameraInfo (kd_perception.geometry.lens).
    """

    channel: str
    intrinsics: np.ndarray
    ego_from_camera: np.ndarray
    width: int
    height: int
    distortion_model: str = "none"
    distortion: tuple[float, ...] = ()

    @cached_property
    def camera(self) -> Camera:
        """The same camera as the rest of the project sees it (pixel centres at .5)."""
        return Camera.from_integer_centred(
            self.channel,
            self.intrinsics,
            self.ego_from_camera,
            width=self.width,
            height=self.height,
            distortion_model=self.distortion_model,
            distortion=self.distortion,
        )

    def rays(self) -> np.ndarray:
        """Unit view directions (H * W, 3) in ego axes, row by row; NaN where the lens sees nothing."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        if self.distortion_model == "none":  # spelt out, so that old sets stay the same to the last bit
            focal_x, focal_y = self.intrinsics[0, 0], self.intrinsics[1, 1]
            optical = np.stack(
                [(u - self.intrinsics[0, 2]) / focal_x, (v - self.intrinsics[1, 2]) / focal_y, np.ones_like(u)], -1
            ).reshape(-1, 3)
            optical /= np.linalg.norm(optical, axis=1, keepdims=True)
        else:
            optical = self.camera.unproject(np.stack([u + 0.5, v + 0.5], -1).reshape(-1, 2))
        return (optical @ self.ego_from_camera[:3, :3].T).astype(np.float32)

    def firing_offset(self, spread: float) -> float:
        """Seconds from the keyframe to this camera's exposure when a rig's cameras fire within `spread` seconds.

        They fire as a LiDAR's beam sweeps over them, clockwise from behind: the camera ahead fires at the keyframe.
        """
        forward = self.ego_from_camera[:3, 2]
        return float(-np.arctan2(forward[1], forward[0]) / (2 * np.pi) * spread)


@dataclass(frozen=True, eq=False)
class SensorRig:
    """The calibrated sensors of one scene."""

    cameras: tuple[CameraSensor, ...]
    ego_from_lidar: np.ndarray


def scaled_intrinsics(
    focal: float,
    principal: tuple[float, float],
    width: int,
    height: int,
    full: tuple[int, int] = (FULL_WIDTH, FULL_HEIGHT),
) -> np.ndarray:
    """K (3, 3) after resizing pictures of `full` (width, height) to `width` columns and cropping the TOP rows down to
    `height` (integer pixel centres).

    Raises ValueError if the resized image has fewer rows than `height`.
    """
    scale = width / full[0]
    crop = round(full[1] * scale) - height
    if width <= 0 or height <= 0 or crop < 0:
        raise ValueError(
            f"image size {width}x{height} is no crop of a resized {full[0]}x{full[1]} image; "
            f"for that width use 1 to {max(1, round(full[1] * scale))} rows"
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


def _nuscenes_cameras(width: int, height: int, rng: np.random.Generator) -> tuple[CameraSensor, ...]:
    """nuScenes' six cameras, with the small differences one vehicle has from the next."""
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
    return tuple(cameras)


def _moved_cameras(nuscenes: tuple[CameraSensor, ...], rng: np.random.Generator) -> tuple[CameraSensor, ...]:
    """The cameras, each moved by up to 20 cm and 2 degrees along and about every axis, focal lengths up to 10 % off."""
    moved = []
    for camera in nuscenes:
        factor = 1.0 + rng.uniform(-0.1, 0.1)
        shift = rng.uniform(-0.2, 0.2, 3)
        turn = euler2mat(*np.radians(rng.uniform(-2.0, 2.0, 3)))
        pose = make_transform(turn @ camera.ego_from_camera[:3, :3], camera.ego_from_camera[:3, 3] + shift)
        intrinsics = camera.intrinsics * np.array([[factor, 1, 1], [1, factor, 1], [1, 1, 1]])
        moved.append(replace(camera, intrinsics=intrinsics, ego_from_camera=pose))
    return tuple(moved)


def _distorted_cameras(nuscenes: tuple[CameraSensor, ...], rng: np.random.Generator) -> tuple[CameraSensor, ...]:
    """nuScenes' cameras behind wide lenses with barrel distortion: plumb_bob, two thirds of the focal length."""
    cameras = []
    for camera in nuscenes:
        wide = 1.0 if camera.channel == "CAM_BACK" else 0.68  # the one behind is as wide already
        intrinsics = camera.intrinsics * np.array([[wide, 1, 1], [1, wide, 1], [1, 1, 1]])
        lens = np.array((-0.28, 0.09, 0.0006, -0.0004, -0.013)) * rng.uniform(0.9, 1.1)
        cameras.append(
            replace(camera, intrinsics=intrinsics, distortion_model="plumb_bob", distortion=tuple(lens.tolist()))
        )
    return tuple(cameras)


def _fisheye_cameras(width: int, height: int, rng: np.random.Generator) -> tuple[CameraSensor, ...]:
    """Four cameras of about 190 degrees: ahead, behind and at the mirrors, under nuScenes' nearest channel names."""
    mounts = (
        ("CAM_FRONT", (1.9, 0.0, 1.45), 0.0),
        ("CAM_FRONT_RIGHT", (1.1, -0.95, 1.35), -90.0),
        ("CAM_BACK", (-0.6, 0.0, 1.45), 180.0),
        ("CAM_FRONT_LEFT", (1.1, 0.95, 1.35), 90.0),
    )
    cameras = []
    for channel, position, yaw in mounts:
        lens = (0.02, -0.009, 0.0025, -0.0004) * rng.uniform(0.9, 1.1, 4)  # OpenCV's k1-k4 of a common 190 degree lens
        half = np.radians(95.0) * (1.0 + 0.005 * rng.standard_normal())
        focal = width / 2 / (half * (1.0 + sum(k * half ** (2 * i + 2) for i, k in enumerate(lens))))
        principal = np.array((width, height)) / 2 - 0.5 + 0.004 * width * rng.standard_normal(2)
        pitch, roll, turn = np.radians((8.0, 0.0, 0.0)) + np.radians(0.5) * rng.standard_normal(3)
        intrinsics = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
        pose = make_transform(
            _optical_rotation(np.radians(yaw) + turn, pitch, roll), np.array(position) + 0.01 * rng.standard_normal(3)
        )
        cameras.append(CameraSensor(channel, intrinsics, pose, width, height, "equidistant", tuple(lens.tolist())))
    return tuple(cameras)


RIGS = ("nuscenes", "moved", "distorted", "fisheye")


def build_cameras(
    rig: str, width: int, height: int, rng: np.random.Generator, variation: np.random.Generator
) -> tuple[CameraSensor, ...]:
    """The cameras of a rig named in RIGS. `rng` draws the nuScenes car that all but the fisheye vary by `variation`.

    Raises ValueError if `width` x `height` is no crop of a resized 1600x900 image, or the rig is not known.
    """
    nuscenes = _nuscenes_cameras(width, height, rng)
    if rig == "nuscenes":
        return nuscenes
    if rig == "moved":
        return _moved_cameras(nuscenes, variation)
    if rig == "distorted":
        return _distorted_cameras(nuscenes, variation)
    if rig == "fisheye":
        return _fisheye_cameras(width, height, variation)
    raise ValueError(f"rig '{rig}' is not known; use one of {', '.join(RIGS)}")


def build_rig(
    width: int,
    height: int,
    rng: np.random.Generator,
    rig: str = "nuscenes",
    variation: np.random.Generator | None = None,
) -> SensorRig:
    """Cameras of width x height as `build_cameras` makes them, and the LiDAR, which is the same on every rig."""
    cameras = build_cameras(rig, width, height, rng, variation or np.random.default_rng(0))
    # nuScenes' LiDAR frame: x to the vehicle's right, y forward, z up
    tilt = np.radians(0.3) * rng.standard_normal(2)
    turn = make_transform(np.array([np.cos(-np.pi / 4), 0, 0, np.sin(-np.pi / 4)]), np.zeros(3))[:3, :3]
    lean = np.array([[1, 0, tilt[0]], [0, 1, tilt[1]], [-tilt[0], -tilt[1], 1]])
    left, _, right = np.linalg.svd(lean @ turn)
    position = np.array(LIDAR_POSITION) + 0.01 * rng.standard_normal(3)
    return SensorRig(cameras, make_transform(left @ right, position))


def lidar_rays() -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (columns * 32, 3) in the LiDAR frame, in firing order, and the ring index (columns * 32,) of
    each.
    """
    azimuth = -np.arange(LIDAR_COLUMNS) * 2 * np.pi / LIDAR_COLUMNS  # clockwise seen from above
    elevation = np.radians(LIDAR_ELEVATION_DEG)
    az, el = np.meshgrid(azimuth, elevation, indexing="ij")
    directions = np.stack([np.cos(el) * np.cos(az), np.cos(el) * np.sin(az), np.sin(el)], -1).reshape(-1, 3)
    return directions.astype(np.float32), np.tile(np.arange(32), LIDAR_COLUMNS)
