"""Cameras of a rig: intrinsics, lens distortion and mounting, and the projection between ego points and pixels.

Pixel coordinates are (u right, v down) with pixel CENTRES at .5, so that resizing an image scales them. CameraInfo and
nuScenes put centres on integers: `Camera.from_integer_centred` shifts K at that edge. A camera frame is optical (x
right, y down, z forward, REP-103); ego is `base_link`.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from kd_perception.errors import CalibrationError
from kd_perception.transforms import apply, invert, make_transform

MIN_DEPTH = 0.1  # metres in front of the camera; nearer points have no useful pixel
DISTORTION_COEFFICIENTS = {"none": 0, "plumb_bob": 5}


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera: K (3, 3) in pixels (centres at .5), lens, mounting `ego_from_camera` (4, 4), image size in pixels.

    `distortion_model` is 'none' or 'plumb_bob' (k1, k2, p1, p2, k3; Brown-Conrady as in sensor_msgs/CameraInfo).
    Raises CalibrationError if anything is not finite, focal lengths or sizes are not positive, or the model is unknown.
    """

    name: str
    intrinsics: np.ndarray
    ego_from_camera: np.ndarray
    width: int
    height: int
    distortion_model: str = "none"
    distortion: tuple[float, ...] = field(default=())

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
        if self.distortion_model not in DISTORTION_COEFFICIENTS:
            known = ", ".join(DISTORTION_COEFFICIENTS)
            raise CalibrationError(
                f"{where}: distortion model '{self.distortion_model}' is not supported (known: {known}); "
                "rectify the images"
            )
        needed = DISTORTION_COEFFICIENTS[self.distortion_model]
        if len(self.distortion) != needed or not np.isfinite(self.distortion).all():
            raise CalibrationError(
                f"{where}: '{self.distortion_model}' needs {needed} finite coefficients, got {list(self.distortion)}"
            )

    @staticmethod
    def from_integer_centred(
        name: str,
        intrinsics: np.ndarray,
        ego_from_camera: np.ndarray,
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

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ego points (N, 3) -> pixels (N, 2), range (N,) from the camera centre in metres, and `seen` (N,).

        Seen means in front of the camera, within the lens model's monotonic part, and inside the image.
        """
        local = apply(invert(self.ego_from_camera), np.asarray(points, dtype=np.float64))
        in_front = local[:, 2] > MIN_DEPTH
        normalised = local[:, :2] / np.where(in_front, local[:, 2], 1.0)[:, None]
        in_lens = np.einsum("ni,ni->n", normalised, normalised) < self._max_squared_radius()
        pixels = self.distort(normalised) @ self.intrinsics[:2, :2].T + self.intrinsics[:2, 2]
        inside = (pixels >= 0).all(axis=1) & (pixels[:, 0] < self.width) & (pixels[:, 1] < self.height)
        return pixels, np.linalg.norm(local, axis=1), in_front & in_lens & inside

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (N, 2) -> unit rays (N, 3) in the camera frame; ego point = apply(ego_from_camera, range * ray).

        Pixels beyond the lens model's monotonic part, which no point projects to, give NaN rays.
        """
        from_pixels = np.linalg.inv(self.intrinsics[:2, :2])
        distorted = (np.asarray(pixels, dtype=np.float64) - self.intrinsics[:2, 2]) @ from_pixels.T
        normalised = self.undistort(distorted)
        rays = np.concatenate([normalised, np.ones((len(normalised), 1))], axis=1)
        return rays / np.linalg.norm(rays, axis=1, keepdims=True)

    def distort(self, normalised: np.ndarray) -> np.ndarray:
        """Ideal normalised image coordinates (N, 2) -> where the lens puts them (N, 2)."""
        if self.distortion_model == "none":
            return normalised
        k1, k2, p1, p2, k3 = self.distortion
        x, y = normalised[:, 0], normalised[:, 1]
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return np.stack(
            [
                x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
                y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
            ],
            axis=1,
        )

    def undistort(self, distorted: np.ndarray) -> np.ndarray:
        """Inverse of `distort` by Newton's method; NaN where the lens model has no inverse."""
        if self.distortion_model == "none":
            return distorted
        estimate = distorted.copy()
        step = 1e-6
        for _ in range(30):
            value = self.distort(estimate)
            dx = (self.distort(estimate + [step, 0.0]) - value) / step
            dy = (self.distort(estimate + [0.0, step]) - value) / step
            determinant = dx[:, 0] * dy[:, 1] - dy[:, 0] * dx[:, 1]
            determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
            error = value - distorted
            update = np.stack(
                [dy[:, 1] * error[:, 0] - dy[:, 0] * error[:, 1], dx[:, 0] * error[:, 1] - dx[:, 1] * error[:, 0]],
                axis=1,
            )
            update = np.clip(update / determinant[:, None], -0.5, 0.5)  # stay in the basin when far from the solution
            estimate = estimate - update
            if np.abs(update).max(initial=0.0) < 1e-12:
                break
        good = np.linalg.norm(self.distort(estimate) - distorted, axis=1) < 1e-6
        good &= np.einsum("ni,ni->n", estimate, estimate) < self._max_squared_radius()
        return np.where(good[:, None], estimate, np.nan)

    def fingerprint(self) -> str:
        """A short hash of the whole calibration: equal fingerprints mean equal geometry tables."""
        digest = hashlib.sha1(
            f"{self.name} {self.width} {self.height} {self.distortion_model} {self.distortion}".encode()
        )
        digest.update(np.ascontiguousarray(self.intrinsics, dtype=np.float64).tobytes())
        digest.update(np.ascontiguousarray(self.ego_from_camera, dtype=np.float64).tobytes())
        return digest.hexdigest()

    def _max_squared_radius(self) -> float:
        """Squared normalised radius up to which the radial polynomial grows; beyond it points fold back."""
        if self.distortion_model == "none":
            return np.inf
        k1, k2, _, _, k3 = self.distortion
        roots = np.roots([7.0 * k3, 5.0 * k2, 3.0 * k1, 1.0])
        real = roots[np.abs(roots.imag) < 1e-9].real
        return float(min(real[real > 0], default=np.inf))


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
