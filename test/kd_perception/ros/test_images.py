"""Images and clouds of every layout, against a plain reference and, where they exist, ROS 2's own converters."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image, PointCloud2, PointField

from kd_perception.errors import DataError
from kd_perception.images.decoding import check_format, decode_image, rgb_pixels
from kd_perception.ros.images import from_image, to_image
from kd_perception.ros.pointclouds import finite_xyz, from_cloud, from_cloud_numpy

ENCODINGS = {"mono8": "m", "rgb8": "rgb", "bgr8": "bgr", "rgba8": "rgba", "bgra8": "bgra"}


def picture(height=5, width=7):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def image_message(rgb, encoding, padding=0):
    """Built pixel by pixel, as a driver would."""
    planes = {"r": 0, "g": 1, "b": 2, "m": 0}
    order = ENCODINGS[encoding]
    rows = []
    for row in rgb:
        values = [255 if channel == "a" else int(pixel[planes[channel]]) for pixel in row for channel in order]
        rows.append(bytes(values) + b"\xaa" * padding)
    message = Image(
        height=rgb.shape[0], width=rgb.shape[1], encoding=encoding, step=rgb.shape[1] * len(order) + padding
    )
    message.data = b"".join(rows)
    return message


@pytest.mark.parametrize("padding", [0, 1, 3, 5, 8])  # of no whole number of pixels, too
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_images_of_every_encoding_and_step(encoding, padding):
    rgb = picture()
    expected = np.repeat(rgb[:, :, :1], 3, axis=2) if encoding == "mono8" else rgb
    assert np.array_equal(from_image(image_message(rgb, encoding, padding)), expected)


def test_images_round_trip():
    rgb = picture()
    message = to_image(rgb, "CAM_FRONT")
    assert message.header.frame_id == "CAM_FRONT" and np.array_equal(from_image(message), rgb)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cv_bridge_agrees(encoding):
    cv_bridge = pytest.importorskip("cv_bridge", reason="cv_bridge is not installed: nothing to compare with")
    message = image_message(picture(), encoding)  # without padding, which cv_bridge may take for pixels
    assert np.array_equal(rgb_pixels(message), cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8"))


def broken(**changes):
    message = image_message(picture(), "rgb8")
    for name, value in changes.items():
        setattr(message, name, value)
    return message


@pytest.mark.parametrize(
    "message, sentence",
    [
        (broken(encoding="yuv422"), "encoding 'yuv422', which is not RGB"),
        (broken(encoding="yuv422_yuy2"), "is not RGB; convert it"),
        (broken(encoding="nv12"), "is not RGB"),
        (broken(encoding="bayer_rggb8"), "encoding 'bayer_rggb8', which is a mosaic .* debayer"),
        (broken(encoding="bayer_grbg16"), "is a mosaic"),
        (broken(encoding="mono16"), "encoding 'mono16', which has 16 bits"),
        (broken(encoding="rgb16"), "has 16 bits"),
        (broken(encoding="16UC1"), "has 16 bits"),
        (broken(encoding="32FC1"), "no 8-bit picture"),
        (broken(encoding="8UC3"), "does not state what its channels are"),
        (broken(encoding="RGB8"), "is not known .mono8, rgb8"),
        (broken(data=b"\0" * 10), "10 of 105 bytes"),
        (broken(step=4), "rows of 4 bytes"),
        (broken(width=0), "0x5 pixels"),
    ],
)
def test_broken_images_are_refused_with_a_sentence(message, sentence):
    with pytest.raises(DataError, match=sentence):
        from_image(message)


def coded(picture, extension=".jpg"):
    return cv2.imencode(extension, picture[..., ::-1] if picture.ndim == 3 else picture)[1].tobytes()


RED = np.full((16, 24, 3), (200, 30, 20), np.uint8)
NAMES_OF_JPEG = ["jpeg", "jpg", "", "JPEG", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8"]
NAMES_OF_JPEG += ["rgb8; jpeg compressed rgb8", "bgra8; jpeg compressed bgr8", "bayer_rggb8; jpeg compressed bgr8"]


@pytest.mark.parametrize("text", [*NAMES_OF_JPEG, "png", "bgr8; png compressed bgr8"])
def test_red_is_red_whatever_a_format_calls_it(text):
    """JPEG and PNG define their channels; the format's names are of what was there before or is made of it."""
    data = coded(RED, ".png" if "png" in text else ".jpg")
    check_format(text, data)
    assert np.abs(decode_image(data).astype(int) - RED).max() <= 6


@pytest.mark.parametrize("text", ["h264", "H265", "hevc", "16UC1; compressedDepth png", "ffmpeg", "theora", "zdepth"])
def test_formats_of_other_codecs_are_refused_by_name(text):
    with pytest.raises(DataError, match=f"format '{text}'.*is not supported"):
        check_format(text, coded(RED))


def test_mosaics_and_deep_pictures_are_refused_however_compressed():
    with pytest.raises(DataError, match="'bayer_rggb8; jpeg compressed '.*debayer"):
        check_format("bayer_rggb8; jpeg compressed ", coded(RED[:, :, 0]))
    deep = coded(RED.astype(np.uint16) << 4, ".png")  # 12 bits in 16: nearly black if the upper 8 were taken
    with pytest.raises(DataError, match="PNG of 16 bits a channel"):
        check_format("mono16; png compressed ", deep)
    with pytest.raises(DataError, match="image here.png is a PNG of 16 bits"):
        decode_image(deep, "here.png")


FIELDS = [
    ("x", PointField.FLOAT32), ("y", PointField.FLOAT64), ("z", PointField.FLOAT32), ("intensity", PointField.UINT8),
    ("ring", PointField.UINT16), ("a", PointField.INT8), ("b", PointField.INT16), ("c", PointField.INT32),
    ("d", PointField.UINT32),
]  # fmt: skip
NUMPY = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def cloud_message(height=2, width=5, big=False, gap=3, row_padding=0):
    """A cloud with every field type, odd offsets between them, and what its fields must read."""
    rng = np.random.default_rng(1)
    offset, fields, columns = 1, [], {}
    data = bytearray()
    layout = []
    for name, kind in FIELDS:
        fields.append(PointField(name=name, offset=offset, datatype=kind, count=1))
        layout.append((name, offset, np.dtype((">" if big else "<") + NUMPY[kind])))
        offset += np.dtype(NUMPY[kind]).itemsize + gap
        columns[name] = rng.integers(0, 100, height * width).astype(NUMPY[kind])
    for index in range(height * width):
        point = bytearray(offset)
        for name, at, dtype in layout:
            point[at : at + dtype.itemsize] = np.array(columns[name][index]).astype(dtype).tobytes()
        data += point
        if (index + 1) % width == 0:
            data += b"\xee" * row_padding
    message = PointCloud2(height=height, width=width, fields=fields, is_bigendian=big, point_step=offset)
    message.row_step = offset * width + row_padding
    message.data = bytes(data)
    return message, columns


@pytest.mark.parametrize("row_padding", [0, 7])
@pytest.mark.parametrize("big", [False, True])
def test_clouds_of_any_type_stride_and_byte_order(big, row_padding):
    message, columns = cloud_message(big=big, row_padding=row_padding)
    points = from_cloud(message)
    for name, expected in columns.items():
        assert np.array_equal(points[name], expected), name
    assert np.allclose(finite_xyz(message), np.stack([columns[name] for name in "xyz"], axis=1))


def test_fields_with_several_elements():
    message = PointCloud2(height=1, width=2, point_step=16, row_step=32, data=np.arange(8, dtype=np.float32).tobytes())
    message.fields = [PointField(name="xyzi", offset=0, datatype=PointField.FLOAT32, count=4)]
    assert np.array_equal(from_cloud_numpy(message)["xyzi"], np.arange(8.0).reshape(2, 4))


@pytest.mark.parametrize("big", [False, True])
def test_sensor_msgs_py_agrees(big):
    point_cloud2 = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="sensor_msgs_py is not installed: nothing to compare with"
    )
    message, _ = cloud_message(big=big)
    ours, theirs = from_cloud_numpy(message), point_cloud2.read_points(message)
    assert ours.dtype.names == theirs.dtype.names
    for name in ours.dtype.names:
        assert np.array_equal(ours[name], theirs[name])


def test_points_that_are_not_finite_are_left_out():
    xyz = np.array([[1.0, 2.0, 3.0], [np.nan, 0.0, 0.0], [0.0, np.inf, 0.0], [4.0, 5.0, 6.0]], np.float32)
    message = PointCloud2(height=1, width=4, point_step=12, row_step=48, data=xyz.tobytes())
    message.fields = [
        PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate("xyz")
    ]
    assert np.array_equal(finite_xyz(message), xyz[[0, 3]])


def test_an_empty_cloud_is_no_error():
    message, _ = cloud_message(height=1, width=0)
    assert finite_xyz(message).shape == (0, 3)


def test_broken_clouds_are_refused_with_a_sentence():
    message, _ = cloud_message()
    message.data = bytes(message.data)[:-40]
    with pytest.raises(DataError, match="is short"):
        from_cloud(message)
    message, _ = cloud_message()
    message.point_step = 4
    with pytest.raises(DataError, match="points of 4 bytes"):
        from_cloud(message)
    message, _ = cloud_message()
    message.fields[0].datatype = 99
    with pytest.raises(DataError, match=r"unknown type: x \(99\)"):
        from_cloud(message)
    message, _ = cloud_message()
    message.fields = message.fields[1:]
    with pytest.raises(DataError, match="no field x"):
        finite_xyz(message)
    with pytest.raises(DataError, match="no fields at all"):
        from_cloud(PointCloud2())
