"""Stamps, transforms, cameras and detections to messages and back."""

import re
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Pose, Quaternion
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from kd_msgs.msg import Detection3DArray
from kd_perception.bags.messages import BAG, typestore
from kd_perception.errors import CalibrationError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.transforms import make_transform
from kd_perception.messages.markers import MarkerFrame
from kd_perception.ros.cameras import from_camera_info
from kd_perception.ros.detections import from_detection_array, to_detection_array
from kd_perception.ros.geometry import from_pose, from_transform
from kd_perception.ros.live import LIVE
from kd_perception.ros.outcomes import NUMBERS
from kd_perception.ros.stamps import to_nanoseconds, to_time

ROOT = Path(__file__).resolve().parents[3]
STAMP = 1_532_402_927_612_460_123  # needs all 64 bits: a float64 loses the last digits


def some_boxes(count=7):
    rng = np.random.default_rng(3)
    return Boxes(
        center=rng.normal(0.0, 20.0, (count, 3)), size=rng.uniform(0.3, 9.0, (count, 3)),
        yaw=rng.uniform(-np.pi, np.pi, count), velocity=rng.normal(0.0, 3.0, (count, 2)),
        label=rng.integers(0, len(CLASSES), count), score=rng.uniform(0.0, 1.0, count),
    )  # fmt: skip


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def in_a_bag(message):
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def test_stamps_keep_every_nanosecond():
    assert to_nanoseconds(over_the_wire(to_time(STAMP))) == STAMP
    assert to_nanoseconds(to_time(-1)) == -1
    with pytest.raises(ValueError, match="nanoseconds since 1970"):
        to_time(2**63)


def test_every_outcome_has_the_number_that_frame_status_gives_it():
    definition = (ROOT / "kd_msgs/msg/FrameStatus.msg").read_text()
    given = {name: int(number) for name, number in re.findall(r"^uint8 ([A-Z]+)=(\d+)", definition, re.MULTILINE)}
    assert {outcome.name: number for outcome, number in NUMBERS.items()} == given


def test_transforms_round_trip():
    rng = np.random.default_rng(1)
    for _ in range(20):
        matrix = make_transform(rng.normal(size=4), rng.normal(size=3))
        message = over_the_wire(LIVE.transform("odom", "base_link", STAMP, matrix))
        assert np.allclose(from_transform(message.transform), matrix, atol=1e-12)
        assert (message.header.frame_id, message.child_frame_id) == ("odom", "base_link")
        assert to_nanoseconds(message.header.stamp) == STAMP


def test_quaternions_travel_as_xyzw():
    message = LIVE.transform("a", "b", 0, make_transform([np.cos(0.3), 0.0, 0.0, np.sin(0.3)], np.zeros(3)))
    rotation = message.transform.rotation
    assert (rotation.w, rotation.z) == (pytest.approx(np.cos(0.3)), pytest.approx(np.sin(0.3)))


def test_a_pose_without_rotation_is_refused():
    with pytest.raises(DataError, match="no rotation"):
        from_pose(Pose(orientation=Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)))


def test_boxes_round_trip():
    boxes = some_boxes()
    message = over_the_wire(to_detection_array(boxes, STAMP, "base_link", "student@1"))
    back = from_detection_array(message)
    for name in ("center", "size", "velocity", "label", "score"):
        assert np.array_equal(getattr(back, name), getattr(boxes, name)), name
    assert np.allclose(back.yaw, boxes.yaw, atol=1e-12)
    assert (message.header.frame_id, message.model, to_nanoseconds(message.header.stamp)) == (
        "base_link",
        "student@1",
        STAMP,
    )


def test_no_boxes_and_unknown_velocities_round_trip():
    assert len(from_detection_array(to_detection_array(Boxes.empty(), 0, "base_link", ""))) == 0
    boxes = some_boxes(1)
    boxes.velocity[:] = np.nan
    assert np.isnan(from_detection_array(over_the_wire(to_detection_array(boxes, 0, "", ""))).velocity).all()


def test_detections_say_name_and_attribute():
    boxes = some_boxes(2)
    boxes.label[:] = [CLASSES.index("car"), CLASSES.index("pedestrian")]
    boxes.velocity[:] = [[3.0, 4.0], [0.1, 0.0]]
    first, second = to_detection_array(boxes, 0, "base_link", "").detections
    assert (first.class_name, first.attribute) == ("car", "vehicle.moving")
    assert (second.class_name, second.attribute) == ("pedestrian", "pedestrian.standing")
    assert (first.size.x, first.size.y, first.size.z) == tuple(boxes.size[0])  # length, width, height


def test_unknown_classes_and_broken_poses_are_refused():
    message = to_detection_array(some_boxes(1), 0, "base_link", "")
    message.detections[0].pose.orientation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    with pytest.raises(DataError, match="orientation"):
        from_detection_array(message)
    message.detections[0].class_name = "unicorn"
    with pytest.raises(DataError, match="unicorn"):
        from_detection_array(message)


def test_markers_clear_first_and_follow_the_boxes():
    boxes = some_boxes(2)
    boxes.velocity[:] = [[2.0, 0.0], [0.0, 0.0]]
    markers = MarkerFrame(LIVE, "base_link", STAMP).detections(boxes).markers
    assert markers[0].action == markers[0].DELETEALL
    assert [marker.ns for marker in markers[1:]] == ["boxes", "labels", "velocity", "boxes", "labels"]
    arrow = markers[3]
    assert arrow.points[1].x - arrow.points[0].x == pytest.approx(2.0)
    assert len({(marker.ns, marker.id) for marker in markers[1:]}) == 5


MOUNTING = make_transform([0.5, -0.5, 0.5, -0.5], [1.7, 0.0, 1.5])


def camera(**changes):
    values = {
        "name": "CAM_FRONT", "intrinsics": np.array([[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]),
        "ego_from_camera": MOUNTING, "width": 1600, "height": 900,
        "distortion_model": "plumb_bob", "distortion": (-0.1, 0.02, 1e-3, -1e-3, 0.0),
    }  # fmt: skip
    return Camera(**{**values, **changes})


def test_cameras_round_trip_and_k_is_integer_centred_on_the_wire():
    message = over_the_wire(LIVE.camera_info(camera(), "CAM_FRONT"))
    assert message.k[2] == pytest.approx(816.3 - 0.5) and message.k[5] == pytest.approx(491.5 - 0.5)
    back = from_camera_info(message, "CAM_FRONT", MOUNTING)
    assert np.allclose(back.intrinsics, camera().intrinsics) and back.distortion == camera().distortion
    assert (back.width, back.height, back.distortion_model) == (1600, 900, "plumb_bob")


def test_opencv_agrees_where_a_point_lands():
    """CameraInfo is OpenCV's convention: what projectPoints gives is half a pixel off ours."""
    cv2 = pytest.importorskip("cv2")
    message = LIVE.camera_info(camera(), "CAM_FRONT")
    point = np.array([[12.0, 1.0, 1.2]])
    pixel, _, seen = camera().project(point)
    local = (np.linalg.inv(MOUNTING) @ np.append(point, 1.0))[:3]
    expected, _ = cv2.projectPoints(
        local[None], np.zeros(3), np.zeros(3), np.array(message.k).reshape(3, 3), np.array(message.d)
    )
    assert seen[0] and np.allclose(pixel[0] - 0.5, expected[0, 0], atol=1e-6)


LENSES = [
    ("plumb_bob", (-0.1, 0.02, 1e-3, -1e-3, 0.0)),
    ("rational_polynomial", (0.3, -0.02, 1e-4, -2e-4, -0.001, 0.6, 0.02, -0.004)),
    ("equidistant", (-0.01, 0.003, -0.002, 0.0004)),
]


@pytest.mark.parametrize("model, coefficients", LENSES)
def test_lenses_travel_in_live_messages_and_in_bags(model, coefficients):
    lens = camera(distortion_model=model, distortion=coefficients)
    live = over_the_wire(LIVE.camera_info(lens, "CAM_FRONT"))
    recorded = deserialize_message(in_a_bag(BAG.camera_info(lens, "CAM_FRONT")), CameraInfo)
    for message in (live, recorded):
        back = from_camera_info(message, "CAM_FRONT", MOUNTING)
        assert (back.distortion_model, back.distortion) == (model, coefficients)


def test_trailing_zeros_of_a_rational_lens_are_dropped():
    message = LIVE.camera_info(camera(distortion_model="rational_polynomial", distortion=LENSES[1][1]), "CAM_FRONT")
    message.d = [*LENSES[1][1], *[0.0] * 6]
    assert from_camera_info(message, "CAM_FRONT", MOUNTING).distortion == LENSES[1][1]


@pytest.mark.parametrize(
    "model, sent, meant",
    [
        ("plumb_bob", (-0.1, 0.02, 1e-3, -1e-3), (-0.1, 0.02, 1e-3, -1e-3, 0.0)),
        ("plumb_bob", (-0.1, 0.02, 1e-3, -1e-3, 0.01, 0.0, 0.0, 0.0), (-0.1, 0.02, 1e-3, -1e-3, 0.01)),
        ("rational_polynomial", (-0.1, 0.02, 1e-3, -1e-3, 0.01), (-0.1, 0.02, 1e-3, -1e-3, 0.01, 0.0, 0.0, 0.0)),
        ("rational_polynomial", (0.1, 0.0, 0.0, 0.0), (0.1, *[0.0] * 7)),
    ],
)
def test_coefficients_that_are_missing_or_in_excess_are_zeros(model, sent, meant):
    message = LIVE.camera_info(camera(), "CAM_FRONT")
    message.distortion_model, message.d = model, list(sent)
    read = from_camera_info(message, "CAM_FRONT", MOUNTING)
    assert (read.distortion_model, read.distortion) == (model, meant)


def test_a_region_of_interest_that_is_the_whole_sensor_is_none():
    message = LIVE.camera_info(camera(), "CAM_FRONT")
    message.roi = RegionOfInterest(width=1600, height=900, do_rectify=True)
    message.binning_x = message.binning_y = 1
    assert from_camera_info(message, "CAM_FRONT", MOUNTING).same_calibration(camera())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("rectified", [False, True])
def test_pixels_of_a_binned_region_are_those_of_the_sensor(seed, rectified):
    """By the definition alone: a published pixel's area is that of the sensor's pixels that were combined into it."""
    rng = np.random.default_rng(seed)
    sensor = camera(distortion_model="none", distortion=()) if rectified else camera()
    message = LIVE.camera_info(sensor, "CAM_FRONT")
    message.binning_x, message.binning_y = (int(value) for value in rng.integers(1, 5, 2))
    offset, size = rng.integers(0, 200, 2), rng.integers(400, 700, 2)
    message.roi.x_offset, message.roi.y_offset = (int(value) for value in offset)
    message.roi.width, message.roi.height = (int(value) for value in size)
    if rectified:
        message.d = [-0.3, 0.1, 0.0, 0.0, 0.0]
    read = from_camera_info(message, "CAM_FRONT", MOUNTING, rectified=rectified)
    binning = np.array([message.binning_x, message.binning_y])
    assert (read.width, read.height) == tuple(size // binning)
    pixels = rng.uniform(0.0, 1.0, (50, 2)) * (read.width, read.height)
    rays = read.unproject(pixels)
    points = MOUNTING[:3, 3] + rng.uniform(3.0, 50.0, (50, 1)) * (rays @ MOUNTING[:3, :3].T)
    on_sensor, _, seen = sensor.project(points)
    assert seen.all() and np.allclose((on_sensor - offset) / binning, pixels, atol=1e-6)
    again, _, seen = read.project(points)
    assert seen.all() and np.allclose(again, pixels, atol=1e-6)


def rectified_info():
    """A strong lens, and the rectified image of another focal length that image_proc made of it."""
    message = LIVE.camera_info(camera(distortion=(-0.35, 0.12, 1e-3, -1e-3, 0.0)), "CAM_FRONT")
    message.p = [1000.0, 0.0, 799.5, 0.0, 0.0, 1000.0, 449.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def test_corners_of_a_box_lie_where_the_rectified_picture_shows_them():
    """OpenCV makes the rectified picture of the raw one, as image_proc does; both show the same corners."""
    cv2 = pytest.importorskip("cv2")
    message = rectified_info()
    corners = np.array([[x, y, z] for x in (10.0, 14.0) for y in (1.0, 3.0) for z in (0.0, 1.6)])
    raw = from_camera_info(message, "CAM_FRONT", MOUNTING).project(corners)[0] - 0.5
    k, p = np.array(message.k).reshape(3, 3), np.array(message.p).reshape(3, 4)
    expected = cv2.undistortPoints(raw[:, None], k, np.array(message.d), P=p)[:, 0]
    read = from_camera_info(message, "CAM_FRONT", MOUNTING, rectified=True)
    pixels, _, seen = read.project(corners)
    assert seen.all() and np.allclose(pixels - 0.5, expected, atol=1e-3)
    assert np.abs(pixels - 0.5 - raw).max() > 20.0  # the raw calibration would have been far off


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"p": [0.0] * 12}, "has no P .* set rectified to false"),
        ({"p": [float("nan")] * 12}, "has no P"),
        (
            {"p": [900.0, 0.0, 800.0, -90.0, 0.0, 900.0, 450.0, 0.0, 0.0, 0.0, 1.0, 0.0]},
            "unclear .* the first of",
        ),
        ({"r": [0.9998, 0.02, 0.0, -0.02, 0.9998, 0.0, 0.0, 0.0, 1.0]}, "unclear .* before or after"),
    ],
)
def test_rectified_images_of_an_unclear_camera_are_refused(change, sentence):
    message = rectified_info()
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(CalibrationError, match=sentence):
        from_camera_info(message, "CAM_FRONT", MOUNTING, rectified=True)


NO_LENS = [("", []), ("plumb_bob", [0.0] * 5), ("none", []), ("rational_polynomial", [0.0] * 8)]


@pytest.mark.parametrize("model, coefficients", NO_LENS)
def test_no_distortion_has_several_spellings(model, coefficients):
    message = LIVE.camera_info(camera(), "CAM_FRONT")
    message.distortion_model, message.d = model, coefficients
    assert from_camera_info(message, "CAM_FRONT", MOUNTING).distortion_model == "none"


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"k": [0.0] * 9}, "focal lengths"),
        ({"k": [float("nan")] * 9}, "not nine finite numbers"),
        ({"width": 0}, "image size"),
        (
            {"distortion_model": "omnidirectional", "d": [0.1] * 4},
            "'omnidirectional' is not supported .known: none, plumb",
        ),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, "4 finite coefficients"),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 14}, "8 finite coefficients"),
        ({"distortion_model": "plumb_bob", "d": [0.1] * 3}, "5 finite coefficients"),
        ({"distortion_model": "plumb_bob", "d": [0.1] * 8}, "5 finite coefficients"),
        ({"distortion_model": "equidistant", "d": [0.1] * 3}, "4 finite coefficients"),
        (
            {"roi": RegionOfInterest(width=800, height=900, x_offset=801)},
            "interest, 800x900 at 801, 0, is not",
        ),
        ({"roi": RegionOfInterest(x_offset=4)}, "region of interest, 0x0 at 4, 0"),
    ],
)
def test_calibration_that_cannot_be_used_is_refused(change, sentence):
    message = LIVE.camera_info(camera(), "CAM_FRONT")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(CalibrationError, match=sentence) as caught:
        from_camera_info(message, "CAM_FRONT", MOUNTING)
    assert "CAM_FRONT" in str(caught.value)


def test_the_empty_messages_are_refused_too():
    with pytest.raises(CalibrationError):
        from_camera_info(CameraInfo(), "CAM_FRONT", MOUNTING)
    assert len(from_detection_array(Detection3DArray())) == 0
