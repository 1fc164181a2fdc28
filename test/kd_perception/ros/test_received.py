"""Images read from serialised messages equal what rclpy makes of them, and share their bytes."""

import struct

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from kd_perception.errors import DataError
from kd_perception.ros.cdr import read_header
from kd_perception.ros.images import from_image, to_image
from kd_perception.ros.received import read_compressed_image, read_image
from kd_perception.ros.stamps import to_nanoseconds, to_time

STAMP_NS = 1_700_000_000_123_456_789


def compressed(frame_id="CAM_FRONT", encoding="jpeg", data=bytes(range(256)) * 3) -> CompressedImage:
    message = CompressedImage(format=encoding, data=data)
    message.header.stamp, message.header.frame_id = to_time(STAMP_NS), frame_id
    return message


@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "CAM_FRONT_LEFT", "kämera"])  # every alignment
@pytest.mark.parametrize("encoding", ["", "jpeg", "rgb8; jpeg compressed bgr8"])
def test_compressed_images(frame_id, encoding):
    message = compressed(frame_id, encoding)
    cdr = serialize_message(message)
    got = read_compressed_image(cdr)
    assert (got.stamp_ns, got.frame_id, got.encoding) == (to_nanoseconds(message.header.stamp), frame_id, encoding)
    assert got.data == bytes(message.data) and got.data.obj is cdr  # the same bytes, not a copy
    assert got.content() is got.data


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8", "rgba8"])
def test_raw_images(encoding):
    rgb = np.random.default_rng(0).integers(0, 256, (5, 8, 3), dtype=np.uint8)
    message = to_image(rgb, "CAM")
    if encoding != "rgb8":
        channels = {"bgr8": 3, "mono8": 1, "rgba8": 4}[encoding]
        message = Image(height=5, width=8 * 3 // channels, encoding=encoding, step=24, data=rgb.tobytes())
    cdr = serialize_message(message)
    got = read_image(cdr)
    assert np.array_equal(got.content(), from_image(message))
    assert (got.height, got.width, got.step, got.encoding) == (5, message.width, 24, encoding)
    assert np.shares_memory(got.content(), np.frombuffer(cdr, np.uint8)) == (encoding == "rgb8")


@pytest.mark.parametrize(
    "read, message", [(read_compressed_image, compressed()), (read_image, to_image(np.zeros((2, 2, 3), np.uint8)))]
)
def test_cut_messages_are_refused_at_every_length(read, message):
    cdr = serialize_message(message)
    padding = 3  # rclpy may pad the end
    for length in range(len(cdr) - padding):
        try:
            got = read(cdr[:length])
        except DataError as error:
            assert "is cut" in str(error) or "plain CDR" in str(error)
        else:  # only padding is gone
            assert len(got.data) == len(message.data)


def test_big_endian_and_foreign_encapsulations():
    big = b"\x00\x00\x00\x00" + b"\x00\x00\x00\x05\x00\x00\x00\x07" + b"\x00\x00\x00\x02C\x00\x00\x00"
    big += b"\x00\x00\x00\x05jpeg\x00\x00\x00\x00" + b"\x00\x00\x00\x02\xff\xd8"
    got = read_compressed_image(big)
    assert (got.stamp_ns, got.frame_id, got.encoding, bytes(got.data)) == (5_000_000_007, "C", "jpeg", b"\xff\xd8")
    with pytest.raises(DataError, match="plain CDR"):
        read_compressed_image(b"\x00\x03" + big[2:])


@pytest.mark.parametrize("kind, order", [(0x0000, ">"), (0x0001, "<"), (0x0006, ">"), (0x0007, "<")])
def test_the_header_of_any_message_in_every_byte_order(kind, order):
    cdr = struct.pack(">HH", kind, 0) + struct.pack(f"{order}iII2s", -3, 7, 2, b"C\0")
    assert read_header(cdr) == (-2_999_999_993, "C")
    for length in range(len(cdr)):
        with pytest.raises(DataError, match="is cut|plain CDR"):
            read_header(cdr[:length])
