"""sensor_msgs/Image -> RGB arrays: cv_bridge where it is installed, else a NumPy converter of the same behaviour."""

import numpy as np
from sensor_msgs.msg import Image

from kd_perception.errors import DataError

# encoding: channels per pixel, and which of them are red, green and blue
_ENCODINGS = {
    "mono8": (1, (0, 0, 0)),
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
}


def from_image(message: Image) -> np.ndarray:
    """RGB uint8 (height, width, 3); raises DataError for encodings other than 8-bit mono or colour, or short data."""
    check_image(message)
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return from_image_numpy(message)
    return CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")


def from_image_numpy(message: Image) -> np.ndarray:
    """The same by NumPy alone."""
    channels, rgb = check_image(message)
    rows = np.frombuffer(message.data, dtype=np.uint8, count=message.step * message.height).reshape(
        message.height, message.step
    )
    pixels = rows[:, : message.width * channels].reshape(message.height, message.width, channels)
    return np.ascontiguousarray(pixels[:, :, list(rgb)])


def check_image(message: Image) -> tuple[int, tuple[int, int, int]]:
    """Channels per pixel, indices of red, green, blue; raises DataError if the message does not hold such an image."""
    where = f"image in frame '{message.header.frame_id}'"
    if message.encoding not in _ENCODINGS:
        raise DataError(f"{where} has encoding '{message.encoding}'; publish one of: {', '.join(_ENCODINGS)}")
    channels, rgb = _ENCODINGS[message.encoding]
    if not message.width or not message.height:
        raise DataError(f"{where} is {message.width}x{message.height} pixels; check the camera driver")
    if message.step < message.width * channels:
        raise DataError(
            f"{where} has rows of {message.step} bytes, but {message.width} {message.encoding} pixels need "
            f"{message.width * channels}; check the camera driver"
        )
    if len(message.data) < message.step * message.height:
        raise DataError(
            f"{where} is cut: {len(message.data)} of {message.step * message.height} bytes; check the camera driver"
        )
    return channels, rgb


def to_image(rgb: np.ndarray, frame_id: str = "") -> Image:
    """An rgb8 message (header stamp zero) of a uint8 (height, width, 3) array."""
    height, width, _ = rgb.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = frame_id
    message.data = rgb.tobytes()
    return message
