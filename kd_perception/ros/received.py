"""Image messages as they come off the wire: fields are read from the serialised bytes, pixel data is never copied.

A subscription with `raw=True` hands over the message's CDR bytes (OMG DDS-RTPS 10.5: a four-byte encapsulation header,
then the fields in order, each aligned to its size). rclpy's own conversion would copy the data three more times.
"""

import struct
from dataclasses import dataclass

import numpy as np

from kd_perception.errors import DataError
from kd_perception.ros.images import rgb_pixels
from kd_perception.ros.stamps import NANOSECONDS

_HEADER_SIZE = 4
_BYTE_ORDER = {0x0000: ">", 0x0001: "<", 0x0006: ">", 0x0007: "<"}  # plain CDR and plain CDR2


@dataclass(frozen=True)
class ReceivedImage:
    """A sensor_msgs/CompressedImage or Image whose `data` looks into the received bytes.

    encoding: 'jpeg', 'rgb8', ...; height, width, step: of a raw image only.
    """

    stamp_ns: int
    frame_id: str
    encoding: str
    data: memoryview
    compressed: bool
    height: int = 0
    width: int = 0
    step: int = 0

    def content(self) -> memoryview | np.ndarray:
        """What the pipeline takes: encoded bytes, or RGB uint8 (height, width, 3); raises DataError for raw data that
        is no such image."""
        return self.data if self.compressed else rgb_pixels(self)


def read_compressed_image(cdr: bytes) -> ReceivedImage:
    """A serialised sensor_msgs/CompressedImage; raises DataError if it is cut or not plain CDR."""
    fields = _Fields(cdr)
    stamp_ns, frame_id = fields.header()
    return ReceivedImage(stamp_ns, frame_id, fields.string(), fields.octets(), compressed=True)


def read_image(cdr: bytes) -> ReceivedImage:
    """A serialised sensor_msgs/Image; raises DataError if it is cut or not plain CDR."""
    fields = _Fields(cdr)
    stamp_ns, frame_id = fields.header()
    height, width = fields.number("I"), fields.number("I")
    encoding = fields.string()
    fields.number("B")  # is_bigendian: of no consequence for bytes
    step = fields.number("I")
    return ReceivedImage(stamp_ns, frame_id, encoding, fields.octets(), False, height, width, step)


class _Fields:
    """Reads a CDR stream field by field."""

    def __init__(self, cdr: bytes) -> None:
        self._bytes = memoryview(cdr)
        kind = int.from_bytes(self._bytes[:2], "big") if len(self._bytes) >= _HEADER_SIZE else None
        if kind not in _BYTE_ORDER:
            raise DataError("an image message is not plain CDR; publish it with a standard ROS 2 middleware")
        self._order = _BYTE_ORDER[kind]
        self._position = _HEADER_SIZE

    def number(self, code: str) -> int:
        """An integer of struct's type `code`, aligned to its size."""
        size = struct.calcsize(code)
        self._position += -(self._position - _HEADER_SIZE) % size
        return struct.unpack(self._order + code, self._take(size))[0]

    def header(self) -> tuple[int, str]:
        """Stamp in nanoseconds and frame of a std_msgs/Header."""
        seconds, nanoseconds = self.number("i"), self.number("I")
        return seconds * NANOSECONDS + nanoseconds, self.string()

    def string(self) -> str:
        """A string; its length counts the closing zero."""
        return str(self._take(self.number("I")), "utf-8", "replace").rstrip("\0")

    def octets(self) -> memoryview:
        """A sequence of bytes, in place."""
        return self._take(self.number("I"))

    def _take(self, count: int) -> memoryview:
        taken = self._bytes[self._position : self._position + count]
        if len(taken) < count:
            raise DataError(
                f"an image message of {len(self._bytes)} bytes is cut; check its publisher and the middleware's limits"
            )
        self._position += count
        return taken
