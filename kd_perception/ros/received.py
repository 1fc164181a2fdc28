"""Image messages as they come off the wire: fields are read from the serialised bytes, pixel data is never copied.

A subscription with `raw=True` hands over the message's CDR bytes. rclpy's own conversion would copy the data three more
times.
"""

from dataclasses import dataclass

import numpy as np

from kd_perception.images.decoding import check_format, rgb_pixels
from kd_perception.ros.cdr import CdrReader


@dataclass(frozen=True)
class ReceivedImage:
    """A sensor_msgs/CompressedImage or Image whose `data` looks into the received bytes.

    encoding: 'rgb8', ..., of a compressed image its `format`; height, width, step: of a raw image only.
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
        """What the pipeline takes: encoded bytes, or RGB uint8 (height, width, 3).

        Raises DataError for an encoding or format that is not supported, and for raw data that is no such image.
        """
        if not self.compressed:
            return rgb_pixels(self)
        check_format(self.encoding, self.data)
        return self.data


def read_compressed_image(cdr: bytes) -> ReceivedImage:
    """A serialised sensor_msgs/CompressedImage; raises DataError if it is cut or not plain CDR."""
    fields = CdrReader(cdr)
    stamp_ns, frame_id = fields.header()
    return ReceivedImage(stamp_ns, frame_id, fields.string(), fields.octets(), compressed=True)


def read_image(cdr: bytes) -> ReceivedImage:
    """A serialised sensor_msgs/Image; raises DataError if it is cut or not plain CDR."""
    fields = CdrReader(cdr)
    stamp_ns, frame_id = fields.header()
    height, width = fields.number("I"), fields.number("I")
    encoding = fields.string()
    fields.number("B")  # is_bigendian: of no consequence for bytes
    step = fields.number("I")
    data = fields.octets()
    return ReceivedImage(stamp_ns, frame_id, encoding, data, compressed=False, height=height, width=width, step=step)
