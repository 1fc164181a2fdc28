"""What the detector watches and waits for, without a graph: cameras, poses, and grace periods."""

import threading
import time

import numpy as np
import pytest

from kd_perception.geometry.transforms import make_transform
from kd_perception.nodes.bev_student.camera_watch import FROZEN_AFTER, CameraWatch
from kd_perception.nodes.bev_student.grace_period import GracePeriod
from kd_perception.nodes.bev_student.odometry import PoseSource
from kd_perception.ros.tf_buffer import TransformBuffer, TransformError

S = 1_000_000_000
FRONT, REAR = 0, 1


@pytest.fixture
def watch():
    return CameraWatch(["front", "rear"])


def test_gaps_in_publication_numbers_are_lost_images(watch):
    numbers = [1, 2, 5, 6, 6, 3, 10]
    lost = [watch.arrived(FRONT, b"driver", number)[0] for number in numbers]
    assert lost == [0, 0, 2, 0, 0, 0, 6]  # a number that comes again or late loses nothing
    assert watch.arrived(REAR, b"driver", 100)[0] == 0  # the first that is seen of a camera
    assert watch.arrived(REAR, b"anew", 1)[0] == 0  # another publisher counts for itself
    assert watch.arrived(REAR, b"no numbers", None) == (0, "")


def test_publishers_that_take_turns_are_several_but_one_after_the_other_is_not(watch):
    said = [bool(watch.arrived(FRONT, publisher, None)[1]) for publisher in (b"a", b"a", b"b", b"b", b"a", b"b", b"c")]
    assert said == [False, False, False, False, True, True, False]
    assert "'rear'" not in watch.arrived(FRONT, b"a", None)[1]


def test_frozen_needs_several_identical_images_whose_stamps_advance(watch):
    image = memoryview(b"\xff\xd8 the same")
    said = [watch.frozen(FRONT, stamp * S, image) for stamp in range(FROZEN_AFTER + 2)]
    assert [bool(sentence) for sentence in said] == [False] * FROZEN_AFTER + [True, True]
    assert "'front' is frozen: the same image for 6.0 s" in said[-1]
    assert not watch.frozen(FRONT, 100 * S, memoryview(b"another")) and not watch.frozen(FRONT, 101 * S, image)
    assert not any(watch.frozen(REAR, 5 * S, image) for _ in range(20))  # the same message again is no freeze
    raw = np.zeros((4, 6, 3), np.uint8)[:, ::2]  # rows with padding, as raw images may have
    assert [bool(watch.frozen(REAR, stamp * S, raw)) for stamp in range(10, 17)] == [False] * FROZEN_AFTER + [True] * 2


def test_black_is_the_lack_of_anything_bright(watch):
    night = np.zeros((8, 8, 3), np.uint8)
    assert "'rear' is black" in watch.black(REAR, night)
    night[4, 4] = 90  # one lamp
    assert watch.black(REAR, night) == ""


def pose(x):
    return make_transform(np.array([1.0, 0.0, 0.0, 0.0]), [x, 0.0, 0.0])


def test_poses_come_from_tf_first_then_from_the_topic():
    transforms = TransformBuffer()
    poses = PoseSource(transforms, "odom", "base_link")
    with pytest.raises(TransformError, match="unknown to tf"):
        poses.lookup(0)
    for stamp in (0, 1):
        poses.add(stamp * S, "odom", "base_link", pose(10.0 * stamp))
        poses.add(stamp * S, "map", "base_link", pose(1e6))  # another frame: left aside
    assert poses.lookup(S // 2)[0, 3] == 5.0
    with pytest.raises(TransformError):
        poses.lookup(2 * S)
    transforms.set_transform("odom", "base_link", S // 2, pose(7.0))
    assert poses.lookup(S // 2)[0, 3] == 7.0 and poses.lookup(S)[0, 3] == 10.0
    poses.forget_after(S // 2)
    assert poses.lookup(S // 2)[0, 3] == 7.0  # of the time that goes on
    with pytest.raises(TransformError):
        poses.lookup(S)


def test_what_did_not_come_gets_no_second_grace_period_until_it_has_come():
    grace = GracePeriod(0.05, threading.Event())
    state = {"absent"}
    calls = []

    def missing():
        calls.append(None)
        return set(state)

    grace.wait(missing, time.monotonic())
    assert len(calls) > 1
    calls.clear()
    grace.wait(missing, time.monotonic())
    assert len(calls) == 1  # given up
    state.clear()
    grace.wait(missing, time.monotonic())
    state.add("absent")
    calls.clear()
    grace.wait(missing, time.monotonic())
    assert len(calls) > 1  # it had been there: there is hope again


def test_once_ended_nothing_is_waited_for():
    ended = threading.Event()
    grace = GracePeriod(1000.0, ended)
    threading.Timer(0.05, ended.set).start()
    grace.wait(lambda: {"absent"}, time.monotonic())
    assert ended.is_set()
