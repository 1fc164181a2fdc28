"""sensor_msgs/CameraInfo -> Camera. CameraInfo centres pixels on integers, the project at .5: K shifts here."""

import numpy as np
from sensor_msgs.msg import CameraInfo

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.lens import DISTORTION_COEFFICIENTS

_PERSPECTIVE = ("plumb_bob", "rational_polynomial")
_SAME_ROTATION = 0.0035  # radians: 0.2 degrees, the tolerance of a mounting


def from_camera_info(message: CameraInfo, name: str, ego_from_camera: np.ndarray, *, rectified: bool = False) -> Camera:
    """The camera a message calibrates (REP-104), mounted at `ego_from_camera`.

    K and D describe the raw image; P alone describes the rectified one, in which the lens is already undone. Both are
    given for the full sensor: a region of interest and binning move them to the image that is published. An empty
    distortion model, or a perspective one with zero coefficients, means no distortion; of plumb_bob and
    rational_polynomial, coefficients that are missing are zero and zeros in excess are dropped (OpenCV's k3, k4 to k6,
    thin prism and tilt). Raises CalibrationError for zero or NaN intrinsics, a distortion model the project does not
    know, a region of interest that is not inside the sensor, and a P that leaves open where the camera is.
    """
    if rectified:
        intrinsics, model, coefficients = _rectified_intrinsics(message, name), "none", ()
    else:
        intrinsics = np.array(message.k, dtype=np.float64).reshape(3, 3)
        model, coefficients = _distortion(message)
    intrinsics, (width, height) = _of_published_image(message, name, intrinsics)
    return Camera.from_integer_centred(
        name,
        intrinsics,
        ego_from_camera,
        width=width,
        height=height,
        distortion_model=model,
        distortion=coefficients,
    )


def _distortion(message: CameraInfo) -> tuple[str, tuple[float, ...]]:
    """Model and coefficients as `make_lens` takes them, who refuses what this cannot complete."""
    model, coefficients = message.distortion_model, tuple(float(value) for value in message.d)
    if model in ("", "none", *_PERSPECTIVE) and not any(coefficients):
        return "none", ()
    if model in _PERSPECTIVE and len(coefficients) >= 4:  # OpenCV's shortest: k1, k2, p1, p2
        needed = DISTORTION_COEFFICIENTS[model]
        if not any(coefficients[needed:]):
            coefficients = (*coefficients, *[0.0] * (needed - len(coefficients)))[:needed]
    return model, coefficients


def _rectified_intrinsics(message: CameraInfo, name: str) -> np.ndarray:
    """K (3, 3) of the rectified image; raises CalibrationError where R or P leave open where the camera looks from."""
    where = f"camera '{name}': its images are rectified, but its CameraInfo"
    projection = np.array(message.p, dtype=np.float64).reshape(3, 4)
    if not (np.isfinite(projection).all() and projection[0, 0] > 0 and projection[1, 1] > 0):
        raise CalibrationError(f"{where} has no P for them; publish P, or set rectified to false if the images are raw")
    if projection[:, 3].any():
        raise CalibrationError(
            f"{where} has a stereo baseline in P, so it is unclear whether frame_id is this camera or the first of the "
            "pair; publish P with a zero fourth column and this camera's own frame_id"
        )
    rotation = np.array(message.r, dtype=np.float64).reshape(3, 3)
    if rotation.any() and np.linalg.norm(rotation - np.eye(3)) / np.sqrt(2.0) > _SAME_ROTATION:
        raise CalibrationError(
            f"{where} turns them by R, so it is unclear whether frame_id is the frame before or after; publish R as "
            "the identity and tf of the rectified frame"
        )
    return projection[:, :3]


def _of_published_image(message: CameraInfo, name: str, intrinsics: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Intrinsics (3, 3, integer centres) of the full sensor -> of its binned region of interest, and width, height.

    A binned pixel covers `binning` sensor pixels: its centre is theirs, not that of the first of them.
    """
    roi, binning = message.roi, np.maximum([message.binning_x, message.binning_y], 1)
    sensor = np.array([message.width, message.height])
    offset, size = np.array([roi.x_offset, roi.y_offset]), np.array([roi.width, roi.height])
    if not size.any() and not offset.any():
        size = sensor
    elif not size.all() or (offset + size > sensor).any():
        raise CalibrationError(
            f"camera '{name}': its region of interest, {size[0]}x{size[1]} at {offset[0]}, {offset[1]}, is not inside "
            f"its {sensor[0]}x{sensor[1]} pixels; publish CameraInfo.width, height and k of the full sensor"
        )
    moved = intrinsics.copy()
    moved[:2, 2] = (intrinsics[:2, 2] + 0.5 - offset) / binning - 0.5
    moved[:2, :2] /= binning[:, None]
    width, height = size // binning
    return moved, (int(width), int(height))
