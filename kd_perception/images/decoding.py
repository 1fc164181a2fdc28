"""Images to RGB arrays: JPEG and PNG files, and the raw encodings of sensor_msgs/Image (REP-118 names them).

What a message states of itself is obeyed, or refused by its name: a guess may look right and be wrong.
"""

import re
import struct
from typing import Protocol

import cv2
import numpy as np

from kd_perception.errors import DataError
from kd_perception.images.jpeg import decode_reduced_jpeg, is_jpeg, jpeg_size

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_SIZE, _PNG_BIT_DEPTH = 16, 24  # their places in the file: IHDR is the first chunk

# encoding: channels per pixel, and which of them are red, green and blue
_ENCODINGS = {
    "mono8": (1, (0, 0, 0)),
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
}
# Families of encodings that are refused, and why; the first that fits counts.
_REFUSED = (
    (r"bayer_", "is a mosaic without colours; publish the colour image that a debayer node makes of it"),
    (r"yuv|yuyv|uyvy|nv\d\d", "is not RGB; convert it to rgb8, or choose that in the camera driver"),
    (r".*16", "has 16 bits a channel and does not state how many of them are used; publish 8 bits a channel"),
    (r"32|64", "holds no 8-bit picture; publish the camera's picture, not its depth"),
    (r"8[us]c", "does not state what its channels are; publish it under the name of its colours"),
)
# CompressedImage.format: codecs that are neither JPEG nor PNG.
_FOREIGN_CODECS = {
    *("h264", "h265", "hevc", "avc", "vp8", "vp9", "av1", "ffmpeg", "theora", "compresseddepth", "zdepth", "rvl"),
    *("draco", "jpeg2000", "j2k", "jp2", "jxl", "jxs", "mpeg4"),
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
    if is_jpeg(data):  # not by OpenCV, which paints the missing part of a cut JPEG grey
        try:
            return decode_reduced_jpeg(data, 1)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    _check_bit_depth(data, where)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise DataError(
            f"{where} of {len(data)} bytes is no readable JPEG or PNG (truncated or another format); send JPEG, PNG or "
            "raw RGB, or restore the file"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encoded_size(data: bytes | memoryview, name: str = "") -> tuple[int, int]:
    """(height, width) of a JPEG or PNG, by its header; raises DataError if it is neither, or cut within it."""
    where = f"image {name}".strip()
    if is_jpeg(data):
        try:
            return jpeg_size(data)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    if bytes(data[: len(_PNG_MAGIC)]) != _PNG_MAGIC or len(data) < _PNG_BIT_DEPTH:
        raise DataError(f"{where} of {len(data)} bytes is neither JPEG nor PNG; publish or store one of them")
    width, height = struct.unpack_from(">II", data, _PNG_SIZE)
    return height, width


def check_format(text: str, data: bytes | memoryview) -> None:
    """Raise DataError if sensor_msgs/CompressedImage.format names what is no JPEG or PNG of an 8-bit picture.

    `text` is free, or as image_transport writes it: 'rgb8; jpeg compressed bgr8', the encoding of the raw image, the
    codec, and the encoding that was coded. JPEG and PNG themselves define what is red: the last is of no consequence.
    """
    words = re.findall(r"[a-z0-9_]+", text.lower())
    foreign = next((word for word in words if word in _FOREIGN_CODECS), None)
    if foreign is not None:
        raise DataError(f"a compressed image has format '{text}'; publish JPEG or PNG, {foreign} is not supported")
    encoding, _, coded = text.partition(";")
    if encoding.startswith("bayer_") and not re.search(r"(rgb|bgr)a?8", coded):
        raise DataError(f"a compressed image has format '{text}', a mosaic without colours; debayer before compressing")
    _check_bit_depth(data, "a compressed image")


def _check_bit_depth(data: bytes | memoryview, where: str) -> None:
    if bytes(data[: len(_PNG_MAGIC)]) == _PNG_MAGIC and len(data) > _PNG_BIT_DEPTH and data[_PNG_BIT_DEPTH] > 8:
        raise DataError(
            f"{where} is a PNG of {data[_PNG_BIT_DEPTH]} bits a channel and does not state how many of them are used; "
            "publish 8 bits a channel"
        )


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
        why = next((why for family, why in _REFUSED if re.match(family, image.encoding.lower())), "is not known")
        raise DataError(f"a raw image has encoding '{image.encoding}', which {why} ({', '.join(_ENCODINGS)} are read)")
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
