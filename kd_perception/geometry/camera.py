"""Cameras of a rig: intrinsics, lens distortion and mounting, and the projection between ego points and pixels.

Pixel coordinates are (u right, v down) with pixel CENTRES at .5, so that resizing an image scales them. CameraInfo and
nuScenes put centres on integers: `Camera.from_integer_centred` shifts K at that edge. A camera frame is optical (x
right, y down, z forward, REP-103); ego is `base_link`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from kd_perception.errors import CalibrationError
from kd_perception.geometry.lens import Lens, make_lens
from kd_perception.geometry.transforms import apply_to_columns, invert, make_transform


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera: K (3, 3) in pixels (centres at .5), lens, mounting `ego_from_camera` (4, 4), image size in pixels.

    `distortion_model` and `distortion` are as in sensor_msgs/CameraInfo: 'none', 'plumb_bob', 'rational_polynomial' or
    'equidistant' (kd_perception.geometry.lens). For 'equidistant' the focal lengths are pixels per radian on the axis.
    `ignored` (height, width) bool: pixels that show the robot itself (runtime.ignore_mask), None for none.
    Raises CalibrationError if anything is not finite, focal lengths or sizes are not positive, the model is unknown, or
    `ignored` is of another size.
    """

    name: str
    intrinsics: np.ndarray
    ego_from_camera: np.ndarray
    width: int
    height: int
    distortion_model: str = "none"
    distortion: tuple[float, ...] = field(default=())
    ignored: np.ndarray | None = None

    def __post_init__(self) -> None:
        where = f"camera '{self.name}'"
        if self.intrinsics.shape != (3, 3) or not np.isfinite(self.intrinsics).all():
            raise CalibrationError(f"{where}: intrinsics are not nine finite numbers; publish a valid CameraInfo.k")
        if self.intrinsics[0, 0] <= 0 or self.intrinsics[1, 1] <= 0:
            raise CalibrationError(
                f"{where}: focal lengths must be positive (is the camera calibrated?); publish a valid CameraInfo.k"
            )
        if self.width <= 0 or self.height <= 0:
            raise CalibrationError(
                f"{where}: image size {self.width}x{self.height} is not positive; set CameraInfo.width and height"
            )
        if self.ego_from_camera.shape != (4, 4) or not np.isfinite(self.ego_from_camera).all():
            raise CalibrationError(f"{where}: its transform to base_link is not a finite 4x4 matrix; check /tf_static")
        if self.ignored is not None and self.ignored.shape != (self.height, self.width):
            height, width = self.ignored.shape
            raise CalibrationError(
                f"{where}: its ignore_mask is for pictures of {width}x{height} pixels, but its CameraInfo is for "
                f"{self.width}x{self.height}; make the mask from a picture as it is published"
            )
        try:
            _ = self.lens
        except CalibrationError as error:
            raise CalibrationError(f"{where}: {error}") from error

    @cached_property
    def lens(self) -> Lens:
        """The lens model: between points in the camera frame and image coordinates before K."""
        return make_lens(self.distortion_model, self.distortion)

    @staticmethod
    def from_integer_centred(
        name: str,
        intrinsics: np.ndarray,
        ego_from_camera: np.ndarray,
        *,
        width: int,
        height: int,
        distortion_model: str = "none",
        distortion: tuple[float, ...] = (),
    ) -> "Camera":
        """A camera whose K puts pixel centres on integers (CameraInfo, nuScenes, OpenCV).

        The principal point moves by half a pixel.
        """
        shifted = np.array(intrinsics, dtype=np.float64)
        if shifted.shape == (3, 3):
            shifted[:2, 2] += 0.5
        return Camera(
            name, shifted, np.asarray(ego_from_camera, dtype=np.float64), width, height, distortion_model, distortion
        )

    def integer_centred_intrinsics(self) -> np.ndarray:
        """K (3, 3) in the convention of CameraInfo and nuScenes; inverse of `from_integer_centred`."""
        shifted = self.intrinsics.copy()
        shifted[:2, 2] -= 0.5
        return shifted

    def info_distortion(self) -> tuple[str, list[float]]:
        """`distortion_model` and `d` of its CameraInfo; an ideal lens is plumb_bob with zeros, as drivers send it."""
        if self.distortion_model == "none":
            return "plumb_bob", [0.0] * 5
        return self.distortion_model, [float(value) for value in self.distortion]

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ego points (N, 3) -> pixels (N, 2), range (N,) from the camera centre in metres, and `seen` (N,).

        Seen means within the lens model's field of view, inside the image, and not where the robot itself is.
        """
        local = apply_to_columns(invert(self.ego_from_camera), np.asarray(points, dtype=np.float64).T)
        pixels, visible = self.project_local(local.T)
        x, y, z = local
        return pixels, np.sqrt(x * x + y * y + z * z), visible & self.shows(pixels)

    def shows(self, pixels: np.ndarray) -> np.ndarray:
        """Which pixels (N, 2) are in the image (N,) and show the world, not the robot itself."""
        u, v = pixels.T  # column by column: NumPy is slow where it reduces rows of two or three
        inside = (u >= 0) & (v >= 0) & (u < self.width) & (v < self.height)
        if self.ignored is not None:
            inside[inside] = ~self.ignored[v[inside].astype(int), u[inside].astype(int)]
        return inside

    def project_local(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) in the camera frame -> pixels (N, 2), maybe outside the image, and `visible` (N,).

        Pixels of points beyond the lens model's field of view mean nothing.
        """
        image, visible = self.lens.image(points)
        return (self.intrinsics[:2, :2] @ image.T + self.intrinsics[:2, 2:]).T, visible

    def angle_within(self, pixels: np.ndarray) -> float:
        """Radians from the optical axis beyond which no point is shown between these pixels (N, 2): not within the
        polygon whose corners they are."""
        image = (pixels - self.intrinsics[:2, 2]) @ np.linalg.inv(self.intrinsics[:2, :2]).T
        return self.lens.angle_within(float(np.linalg.norm(image, axis=1).max()))

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) -> unit rays (N, 3) in the camera frame; ego point = apply(ego_from_camera, range * ray).

        Pixels beyond the lens model's field of view, which no point projects to, give NaN rays.
        """
        from_pixels = np.linalg.inv(self.intrinsics[:2, :2])
        return self.lens.rays((np.asarray(pixels, dtype=np.float64) - self.intrinsics[:2, 2]) @ from_pixels.T)

    def same_calibration(self, other: "Camera") -> bool:
        """Whether all that geometry tables depend on is equal; quick where both are the same object."""
        return self is other or (
            (self.name, self.width, self.height) == (other.name, other.width, other.height)
            and (self.distortion_model, self.distortion) == (other.distortion_model, other.distortion)
            and np.array_equal(self.intrinsics, other.intrinsics)
            and np.array_equal(self.ego_from_camera, other.ego_from_camera)
            and (self.ignored is other.ignored or np.array_equal(self.ignored, other.ignored))
        )


def same_rig(first: Sequence[Camera], second: Sequence[Camera]) -> bool:
    """Whether two rigs have the same calibration: equally many cameras, each the same as its counterpart."""
    return len(first) == len(second) and all(a.same_calibration(b) for a, b in zip(first, second, strict=True))


def ring_rig(cameras: int, width: int, height: int, field_of_view: float = np.radians(80.0)) -> list[Camera]:
    """An ideal rig for tests and export: level cameras 1.5 m above base_link, evenly around it, the first forward.

    Sizes in pixels, horizontal field of view in radians; names camera0, camera1 ...
    """
    focal = width / 2.0 / np.tan(field_of_view / 2.0)
    intrinsics = np.array([[focal, 0.0, width / 2.0], [0.0, focal, height / 2.0], [0.0, 0.0, 1.0]])
    rig = []
    for index in range(cameras):
        cos, sin = np.cos(2.0 * np.pi * index / cameras), np.sin(2.0 * np.pi * index / cameras)
        right_down_forward = np.array([[sin, 0.0, cos], [-cos, 0.0, sin], [0.0, -1.0, 0.0]])  # in ego, as columns
        ego_from_camera = make_transform(right_down_forward, np.array([0.0, 0.0, 1.5]))
        rig.append(Camera(f"camera{index}", intrinsics, ego_from_camera, width, height))
    return rig


def seen_from_anchor(camera: Camera, odom_from_ego_at_anchor: np.ndarray, odom_from_ego: np.ndarray) -> Camera:
    """The camera with `ego_at_anchor_from_camera` for its mounting; `odom_from_ego` is the pose at its own exposure.

    Both poses (4, 4) are in any frame that does not move with the robot. Where they are the same, so is the camera: the
    product's rounding would ask for new geometry tables.
    """
    if np.array_equal(odom_from_ego_at_anchor, odom_from_ego):
        return camera
    return moved(camera, invert(odom_from_ego_at_anchor) @ odom_from_ego)


def moved(camera: Camera, ego_at_anchor_from_ego: np.ndarray) -> Camera:
    """The camera seen from the ego at another time; `ego_at_anchor_from_ego` (4, 4) is the ego's motion."""
    return replace(camera, ego_from_camera=ego_at_anchor_from_ego @ camera.ego_from_camera)
