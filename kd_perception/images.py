"""Images to RGB arrays: JPEG and PNG files, JPEGs at a reduced scale, and the raw encodings of sensor_msgs/Image."""

from typing import Protocol

import cv2
import numpy as np
import simplejpeg

from kd_perception.errors import DataError

_JPEG_MAGIC = b"\xff\xd8"

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


def decode_image(data: bytes | memoryview, name: str = "") -> np.ndarray:
    """RGB uint8 (h, w, 3) of a JPEG or PNG at full resolution; raises DataError, which gives `name`, if it is none."""
    where = f"image {name}" if name else "image"
    if not len(data):
        raise DataError(f"{where} is empty (0 bytes); check the camera driver or restore the file")
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise DataError(
            f"{where} of {len(data)} bytes is no readable JPEG or PNG (truncated or another format); send JPEG, PNG or "
            "raw RGB, or restore the file"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def is_jpeg(data: bytes | memoryview) -> bool:
    """Whether the bytes begin as a JPEG does."""
    return bytes(data[:2]) == _JPEG_MAGIC


def jpeg_size(data: bytes | memoryview) -> tuple[int, int]:
    """(height, width) that a JPEG's header gives; raises DataError if it is damaged."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise _damaged_jpeg(data, error) from error
    return height, width


def decode_reduced_jpeg(data: bytes | memoryview, reduction: int) -> np.ndarray:
    """RGB uint8 of a JPEG at 1 / reduction of its size (rounded up), by libjpeg's scaled inverse DCT.

    `reduction` is 1, 2, 4 or 8. Raises DataError if the JPEG is damaged or cannot be decoded at this scale.
    """
    height, width = jpeg_size(data)
    smallest = (-(-height // reduction), -(-width // reduction))
    try:
        decoded = simplejpeg.decode_jpeg(data, "RGB", min_height=smallest[0], min_width=smallest[1], min_factor=1)
    except ValueError as error:
        raise _damaged_jpeg(data, error) from error
    if decoded.shape[:2] != smallest:
        raise DataError(
            f"JPEG image of {width}x{height} cannot be decoded at 1/{reduction} scale; send an ordinary baseline JPEG"
        )
    return decoded


def rgb_pixels(image: RawImage) -> np.ndarray:
    """RGB uint8 (height, width, 3) of a raw image; of rgb8 a view of the image's own bytes.

    Raises DataError for encodings other than 8-bit mono or colour, and for short data.
    """
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


def _damaged_jpeg(data: bytes | memoryview, error: Exception) -> DataError:
    return DataError(
        f"JPEG image of {len(data)} bytes is truncated or damaged ({error}); check the camera driver or restore the "
        "file"
    )
