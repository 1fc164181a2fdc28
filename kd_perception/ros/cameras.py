"""sensor_msgs/CameraInfo -> Camera. CameraInfo centres pixels on integers, the project at .5: K shifts here."""

import numpy as np
from sensor_msgs.msg import CameraInfo

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import Camera


def from_camera_info(message: CameraInfo, name: str, ego_from_camera: np.ndarray) -> Camera:
    """The camera a message calibrates, mounted at `ego_from_camera`.

    The image is taken to be the raw one: K and D describe it; R and P, which describe the rectified image, are not
    read. An empty distortion model, or plumb_bob or rational_polynomial with zero coefficients, means no distortion;
    zeros beyond the eight coefficients of rational_polynomial (OpenCV's thin prism and tilt) are dropped. Raises
    CalibrationError for zero or NaN intrinsics, a distortion model the project does not know, binning or a region of
    interest.
    """
    if message.binning_x > 1 or message.binning_y > 1 or message.roi.width or message.roi.height:
        raise CalibrationError(
            f"camera '{name}': CameraInfo with binning or a region of interest is not supported; publish full images"
        )
    coefficients = tuple(float(value) for value in message.d)
    model = message.distortion_model
    if model in ("", "none", "plumb_bob", "rational_polynomial") and not any(coefficients):
        model, coefficients = "none", ()
    if model == "rational_polynomial" and not any(coefficients[8:]):
        coefficients = coefficients[:8]
    intrinsics = np.array(message.k, dtype=np.float64).reshape(3, 3)
    return Camera.from_integer_centred(
        name,
        intrinsics,
        ego_from_camera,
        width=message.width,
        height=message.height,
        distortion_model=model,
        distortion=coefficients,
    )
