"""sensor_msgs/Image <-> RGB arrays. Not by cv_bridge, which skews rows whose padding is no whole number of pixels."""

import numpy as np
from sensor_msgs.msg import Image

from kd_perception.images.decoding import rgb_pixels


def from_image(message: Image) -> np.ndarray:
    """RGB uint8 (height, width, 3); raises DataError for encodings other than 8-bit mono or colour, or short data."""
    return rgb_pixels(message)


def to_image(rgb: np.ndarray, frame_id: str = "") -> Image:
    """An rgb8 message (header stamp zero) of a uint8 (height, width, 3) array."""
    height, width, _ = rgb.shape
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = frame_id
    message.data = rgb.tobytes()
    return message
