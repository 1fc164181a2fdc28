"""sensor_msgs/Image -> RGB arrays: cv_bridge where it is installed, else a NumPy converter of the same behaviour."""

from typing import Protocol

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


class RawImage(Protocol):
    """Fields of sensor_msgs/Image without its header."""

    height: int
    width: int
    encoding: str
    step: int
    data: bytes | memoryview


def from_image(message: Image) -> np.ndarray:
    """RGB uint8 (height, width, 3); raises DataError for encodings other than 8-bit mono or colour, or short data."""
    try:
        from cv_bridge import CvBridge
    except ImportError:
        return rgb_pixels(message)
    check_image(message)
    return CvBridge().imgmsg_to_cv2(message, desired_encoding="rgb8")


def rgb_pixels(image: RawImage) -> np.ndarray:
    """The same by NumPy alone; of rgb8 a view of the image's own bytes."""
    channels, rgb = check_image(image)
    rows = np.frombuffer(image.data, dtype=np.uint8, count=image.step * image.height).reshape(image.height, image.step)
    pixels = rows[:, : image.width * channels].reshape(image.height, image.width, channels)
    return pixels if rgb == (0, 1, 2) and channels == 3 else np.ascontiguousarray(pixels[:, :, list(rgb)])


def check_image(image: RawImage) -> tuple[int, tuple[int, int, int]]:
    """Channels per pixel, indices of red, green, blue; raises DataError if the message does not hold such an image."""
    if image.encoding not in _ENCODINGS:
        raise DataError(f"a raw image has encoding '{image.encoding}'; publish one of: {', '.join(_ENCODINGS)}")
    channels, rgb = _ENCODINGS[image.encoding]
    if not image.width or not image.height:
        raise DataError(f"a raw image is {image.width}x{image.height} pixels; check the camera driver")
    if image.step < image.width * channels:
        raise DataError(
            f"a raw image has rows of {image.step} bytes, but {image.width} {image.encoding} pixels need "
            f"{image.width * channels}; check the camera driver"
        )
    if len(image.data) < image.step * image.height:
        raise DataError(
            f"a raw image is cut: {len(image.data)} of {image.step * image.height} bytes; check the camera driver"
        )
    return channels, rgb


def to_image(rgb: np.ndarray, frame_id: str = "") -> Image:
    """An rgb8 message (header stamp zero) of a uint8 (height, width, 3) array."""
    height, width, _ = rgb.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = frame_id
    message.data = rgb.tobytes()
    return message
