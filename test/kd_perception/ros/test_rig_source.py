"""The rig of a graph: cameras follow CameraInfo and tf, and are built again only when one of them has changed."""

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo

from kd_perception.geometry.camera import Camera, ring_rig
from kd_perception.geometry.transforms import make_transform
from kd_perception.ros.live import LIVE
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.tf_buffer import TransformBuffer

S = 1_000_000_000
NAMES = ("front", "rear")
RIG = ring_rig(2, 704, 256)


def info_of(camera: Camera, frame_id: str, stamp_s: int = 0) -> CameraInfo:
    message = LIVE.camera_info(camera, frame_id)
    message.header.stamp.sec = stamp_s
    return message


@pytest.fixture
def transforms() -> TransformBuffer:
    buffer = TransformBuffer()
    for name, camera in zip(NAMES, RIG, strict=True):
        buffer.set_transform("base_link", f"{name}_optical", 0, camera.ego_from_camera, static=True)
    return buffer


@pytest.fixture
def source(transforms: TransformBuffer) -> RigSource:
    rig_source = RigSource(NAMES, "base_link", transforms)
    for index, name in enumerate(NAMES):
        rig_source.set_info(index, info_of(RIG[index], f"{name}_optical"))
    return rig_source


def test_a_calibration_that_stays_the_same_is_the_same_object(source: RigSource):
    first = source.rig(S)
    for index, name in enumerate(NAMES):  # drivers send it with every image
        source.set_info(index, info_of(RIG[index], f"{name}_optical", stamp_s=5))
    again = source.rig(6 * S)
    assert not first.problems and [camera.name for camera in first.cameras] == list(NAMES)
    assert all(a is b for a, b in zip(first.cameras, again.cameras, strict=True))
    np.testing.assert_allclose(first.cameras[1].ego_from_camera, RIG[1].ego_from_camera, atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        {"k": [400.0, 0.0, 300.0, 0.0, 400.0, 100.0, 0.0, 0.0, 1.0]},
        {"d": [-0.1, 0.0, 0.0, 0.0, 0.0]},
        {"width": 800},
        {"distortion_model": "equidistant", "d": [0.0] * 4},
    ],
)
def test_another_camera_info_makes_another_camera(source: RigSource, change: dict):
    before = source.rig(S)
    message = info_of(RIG[1], "rear_optical")
    for field, value in change.items():
        setattr(message, field, value)
    source.set_info(1, message)
    after = source.rig(S)
    assert after.cameras[0] is before.cameras[0] and not after.cameras[1].same_calibration(before.cameras[1])


def test_binning_that_is_switched_on_is_followed(source: RigSource):
    before = source.rig(S)
    message = info_of(RIG[1], "rear_optical")
    message.binning_x = message.binning_y = 2
    source.set_info(1, message)
    binned = source.rig(S).cameras[1]
    assert (binned.width, binned.height) == (352, 128)
    np.testing.assert_allclose(binned.intrinsics[:2], RIG[1].intrinsics[:2] / 2.0)
    source.set_info(1, info_of(RIG[1], "rear_optical"))
    assert source.rig(S).cameras[1].same_calibration(before.cameras[1])


def test_a_region_that_is_not_on_the_sensor_is_refused_until_it_is(source: RigSource):
    message = info_of(RIG[1], "rear_optical")
    message.roi.width, message.roi.height, message.roi.x_offset = 704, 256, 8
    source.set_info(1, message)
    assert "region of interest" in source.rig(S).problems["rear"]
    source.set_info(1, info_of(RIG[1], "rear_optical"))
    assert not source.rig(S).problems


def test_a_mounting_that_moves_is_followed(source: RigSource, transforms: TransformBuffer):
    before = source.rig(S)
    transforms.set_transform("base_link", "rear_optical", 0, make_transform(np.eye(3), [0.0, 1.0, 2.0]), static=True)
    after = source.rig(S)
    assert after.cameras[0] is before.cameras[0]
    np.testing.assert_array_equal(after.cameras[1].ego_from_camera[:3, 3], [0.0, 1.0, 2.0])


def test_without_calibration_a_stand_in_sees_nothing_and_the_reason_is_given(transforms: TransformBuffer):
    source = RigSource(NAMES, "base_link", transforms)
    source.set_info(0, info_of(RIG[0], ""))
    rig = source.rig(0)
    assert "'front': its CameraInfo has no frame_id" in rig.problems["front"]
    assert "'rear': no CameraInfo has come" in rig.problems["rear"]
    assert all(a is b for a, b in zip(rig.cameras, source.rig(S).cameras, strict=True))
    ground = np.array([[x, y, 0.0] for x in range(-40, 41, 10) for y in range(-40, 41, 10)])
    assert not any(camera.project(ground)[2].any() for camera in rig.cameras)
    source.set_info(0, info_of(RIG[0], "nowhere"))
    assert "nowhere" in source.rig(0).problems["front"]


def test_the_images_frame_counts_where_camera_info_states_another(source: RigSource, transforms: TransformBuffer):
    moved = make_transform(np.eye(3), [0.0, 1.0, 2.0])
    transforms.set_transform("base_link", "rear_driver", 0, moved, static=True)
    assert source.set_image_frame(0, "front_optical") == "" and source.set_image_frame(0, "/front_optical") == ""
    sentence = source.set_image_frame(1, "rear_driver")
    assert "'rear': its images are in frame 'rear_driver', its CameraInfo in 'rear_optical'" in sentence
    rig = source.rig(S)
    assert not rig.problems
    np.testing.assert_array_equal(rig.cameras[1].ego_from_camera, moved)
    assert source.set_image_frame(1, "") == ""  # a driver that states none has CameraInfo's
    np.testing.assert_allclose(source.rig(S).cameras[1].ego_from_camera, RIG[1].ego_from_camera)


def test_a_frame_of_images_that_tf_does_not_know_is_named_with_camera_infos(source: RigSource):
    source.set_image_frame(1, "unheard_of")
    problem = source.rig(S).problems["rear"]
    assert "'unheard_of' is unknown to tf" in problem and "its CameraInfo is in 'rear_optical'" in problem


def test_the_frame_of_the_images_is_enough(transforms: TransformBuffer):
    source = RigSource(NAMES, "base_link", transforms)
    source.set_info(0, info_of(RIG[0], ""))
    source.set_image_frame(0, "front_optical")
    assert "front" not in source.rig(S).problems


def test_ignored_pixels_belong_to_the_camera_and_must_have_its_size(transforms: TransformBuffer):
    masks = {"front": np.ones((256, 704), bool), "rear": np.ones((128, 352), bool)}
    source = RigSource(NAMES, "base_link", transforms, ignored=masks)
    for index, name in enumerate(NAMES):
        source.set_info(index, info_of(RIG[index], f"{name}_optical"))
    rig = source.rig(S)
    assert rig.cameras[0].ignored is masks["front"]
    assert list(rig.problems) == ["rear"]
    assert "ignore_mask is for pictures of 352x128 pixels, but its CameraInfo is for 704x256" in rig.problems["rear"]
