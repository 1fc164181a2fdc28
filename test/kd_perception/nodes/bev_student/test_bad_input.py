"""Input that is not what it should be, as real messages to a real detector: it goes on, counts, and says so."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage
from support.detector import T0, Bench, S, bench
from support.fake_student import REMEMBERED, TEMPORAL_SPEC
from support.graph import Peer
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import FrameStatus
from kd_perception.geometry.transforms import make_transform
from kd_perception.ros.cameras import to_camera_info
from kd_perception.ros.geometry import to_transform_stamped
from kd_perception.ros.qos import EVERY_RESULT, TF
from kd_perception.ros.stamps import to_nanoseconds, to_time

pytestmark = pytest.mark.ros
CAR = (12.0, 1.0)


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[tuple[Bench, Iterator[int]]]:
    """One running detector for all cases that leave it as they found it, and stamps that advance."""
    with bench(tmp_path_factory.mktemp("shared")) as b:
        b.works(T0)
        yield b, itertools.count(T0 + S, S // 10)


def replace_image(b: Bench, stamp_ns: int, camera: int, message: CompressedImage) -> FrameStatus:
    """Shoot a frame in which one camera sends this message."""
    message.header.stamp = to_time(stamp_ns)
    b.rig.shoot(stamp_ns, leave_out=[camera])
    b.rig.images[camera].publish(message)
    return b.status(stamp_ns)


def test_a_frozen_camera_is_told_while_its_stamps_advance(shared):
    b, stamps = shared
    frozen = b.rig.message(1, 0, b.rig.pictures(None)[1])
    for _ in range(7):
        status = replace_image(b, next(stamps), 1, frozen)
        assert status.outcome == FrameStatus.ANSWERED and not status.missing_cameras
    b.counted("frozen_images", 2)
    told = b.told("is frozen")
    assert b.rig.names[1] in told.status[0].message and b.rig.names[0] not in told.status[0].message
    count = b.counter("frozen_images")
    b.works(next(stamps))
    assert b.counter("frozen_images") == count


def test_a_black_camera_is_told(shared):
    b, stamps = shared
    black = b.rig.message(2, 0, np.zeros((256, 704, 3), np.uint8))
    assert replace_image(b, next(stamps), 2, black).outcome == FrameStatus.ANSWERED
    assert b.rig.names[2] in b.told("is black").status[0].message
    b.counted("black_images", 1)
    b.works(next(stamps))


def test_another_resolution_masks_the_camera_and_says_both_sizes(shared):
    b, stamps = shared
    small = b.rig.message(1, 0, np.full((128, 352, 3), 60, np.uint8))
    status = replace_image(b, next(stamps), 1, small)
    assert status.outcome == FrameStatus.ANSWERED and list(status.missing_cameras) == [b.rig.names[1]]
    b.told("image is 352x128 pixels but its calibration is for 704x256")
    b.works(next(stamps))


def test_two_publishers_on_a_topic_are_told_but_a_restarted_driver_is_not(shared):
    b, stamps = shared
    topic = f"/{b.rig.names[1]}/image/compressed"
    second = b.peer.node.create_publisher(CompressedImage, topic, EVERY_RESULT)
    b.peer.until(second.get_subscription_count)
    first, b.rig.images[1] = b.rig.images[1], second
    b.works(next(stamps))  # another publisher than before: a driver may have been started anew
    assert b.counter("images_of_several_publishers") == 0
    for publisher in (first, second, first):
        b.rig.images[1] = publisher
        b.works(next(stamps))
    b.counted("images_of_several_publishers", 1)
    assert b.rig.names[1] in b.told("several publishers").status[0].message
    b.peer.node.destroy_publisher(second)


def test_bytes_that_are_no_message_content_are_refused(shared):
    b, stamps = shared
    status = replace_image(b, next(stamps), 1, CompressedImage(format="jpeg", data=b""))
    assert list(status.missing_cameras) == [b.rig.names[1]]
    b.told("image is empty")
    b.works(next(stamps))


def test_a_changed_camera_info_takes_effect_at_once_and_is_told_once(shared):
    b, stamps = shared
    name, lens = b.rig.names[0], b.rig.cameras[0]
    before = b.counter("calibration_changes")
    longer = replace(lens, intrinsics=lens.intrinsics * np.array([[1.5, 1.0, 1.0], [1.0, 1.5, 1.0], [1.0, 1.0, 1.0]]))
    b.rig.infos[0].publish(to_camera_info(longer, name))
    places = []
    for _ in range(20):
        stamp_ns = next(stamps)
        b.rig.shoot(stamp_ns, CAR)
        places += [abs(d.pose.position.y) for d in b.found(stamp_ns).detections[:1]]
        if places[-1] < 0.8:  # the same pixel lies at a smaller angle
            break
    assert places[-1] < 0.8 and all(place > 0.8 for place in places[:-1])
    b.counted("calibration_changes", before + 1)
    assert name in b.told("calibration of").status[0].message
    b.rig.calibrate()
    b.shoot_until(lambda status: b.counter("calibration_changes") == before + 2)
    next(itertools.islice(stamps, 200, None))  # past those shots
    b.works(next(stamps))
    assert b.counter("calibration_changes") == before + 2  # and no flapping


def test_a_moved_camera_is_told_and_used(shared):
    b, stamps = shared
    before = b.counter("calibration_changes")
    moved = make_transform(np.array([1.0, 0.0, 0.0, 0.0]), [3.0, 0.0, 0.0]) @ b.rig.cameras[0].ego_from_camera
    b.rig.tf.publish(TFMessage(transforms=[to_transform_stamped("base_link", b.rig.names[0], 0, moved)]))
    b.peer.until(lambda: found_x(b, next(stamps)) > CAR[0] + 2.0)
    b.counted("calibration_changes", before + 1)
    b.rig.tf.publish(TFMessage(transforms=b.rig.transforms()))
    b.peer.until(lambda: abs(found_x(b, next(stamps)) - CAR[0]) < 1.5)


def found_x(b: Bench, stamp_ns: int) -> float:
    """Where the painted car is found now."""
    b.rig.shoot(stamp_ns, CAR)
    detections = b.found(stamp_ns).detections
    return detections[0].pose.position.x if detections else math.nan


def test_a_transform_that_comes_late_is_waited_for_and_one_that_never_comes_only_once(tmp_path):
    with bench(tmp_path, calibrate=False, sync_deadline_ms=3000.0) as b:
        for camera, publisher in zip(b.rig.cameras, b.rig.infos, strict=True):
            publisher.publish(to_camera_info(camera, camera.name))
        b.rig.tf.publish(TFMessage(transforms=b.rig.transforms()[:2]))  # the third camera hangs on /tf, which is late
        tf = b.peer.node.create_publisher(TFMessage, "/tf", TF)
        b.peer.until(tf.get_subscription_count)

        def third(stamp_ns: int) -> TransformStamped:
            return to_transform_stamped("base_link", b.rig.names[2], stamp_ns, b.rig.cameras[2].ego_from_camera)

        tf.publish(TFMessage(transforms=[third(T0 - S)]))
        b.rig.shoot(T0)
        tf.publish(TFMessage(transforms=[third(T0)]))
        b.shoot_until(lambda status: list(status.missing_cameras) == [b.rig.names[2]])  # none newer than T0 comes
        b.told("after the newest transform received")
        waited = stages(b.statuses[-1])["calibration"]
        stamp_ns = to_nanoseconds(b.statuses[-1].header.stamp) + S // 10
        b.rig.shoot(stamp_ns)
        again = b.status(stamp_ns)
        assert list(again.missing_cameras) == [b.rig.names[2]] and stages(again)["calibration"] < waited / 2.0
        tf.publish(TFMessage(transforms=[third(stamp_ns + 5 * S)]))  # the buffer still knows T0's
        b.peer.until(lambda: not shot(b, stamp_ns + S).missing_cameras)


def shot(b: Bench, base_ns: int) -> FrameStatus:
    """The status of another frame shortly after a time."""
    stamp_ns = max(base_ns, to_nanoseconds(b.statuses[-1].header.stamp) + S // 100)
    b.rig.shoot(stamp_ns)
    return b.status(stamp_ns)


def stages(status: FrameStatus) -> dict[str, float]:
    """Milliseconds by stage."""
    return dict(zip(status.stage_names, status.stage_ms, strict=True))


class Drive:
    """Odometry of a robot that drives straight on, over tf or over the odometry topic."""

    def __init__(self, peer: Peer, over_tf: bool, speed: float = 4.0) -> None:
        kind, topic = (TFMessage, "/tf") if over_tf else (Odometry, "/odom")
        self._publisher = peer.node.create_publisher(kind, topic, TF)
        peer.until(self._publisher.get_subscription_count)
        self._over_tf, self._speed = over_tf, speed

    def at(self, stamp_ns: int, jump: float = 0.0) -> None:
        """Tell the pose at a time, `jump` metres further than driven."""
        x = self._speed * (stamp_ns - T0) / 1e9 + jump
        if self._over_tf:
            pose = make_transform(np.array([1.0, 0.0, 0.0, 0.0]), [x, 0.0, 0.0])
            self._publisher.publish(TFMessage(transforms=[to_transform_stamped("odom", "base_link", stamp_ns, pose)]))
            return
        message = Odometry(child_frame_id="base_link")
        message.header.stamp, message.header.frame_id = to_time(stamp_ns), "odom"
        message.pose.pose.position.x, message.twist.twist.linear.x = x, self._speed
        self._publisher.publish(message)


@pytest.mark.parametrize("over_tf", [True, False])
def test_a_student_with_memory_follows_odometry_and_says_when_it_stops_or_jumps(tmp_path, over_tf):
    with bench(tmp_path, spec=TEMPORAL_SPEC, sync_deadline_ms=1500.0) as b:
        drive = Drive(b.peer, over_tf)
        stamps = itertools.count(T0, S // 2)

        def frame(xy, jump: float = 0.0, told: bool = True) -> FrameStatus:
            stamp_ns = next(stamps)
            if told:
                drive.at(stamp_ns, jump)
            b.rig.shoot(stamp_ns, xy)
            return b.status(stamp_ns)

        first = frame(CAR)
        assert (first.outcome, first.memory_state) == (FrameStatus.ANSWERED, FrameStatus.MEMORY_EMPTY)
        assert first.reset_reason
        b.peer.until(lambda: frame(CAR).memory_state == FrameStatus.MEMORY_USED)  # the first pose may get lost
        hidden = frame(None)  # the car is not seen any more, but remembered, two metres nearer
        assert hidden.memory_state == FrameStatus.MEMORY_USED and not hidden.reset_reason
        (ghost,) = b.found(to_nanoseconds(hidden.header.stamp)).detections
        assert abs(ghost.pose.position.x - (CAR[0] - 2.0)) < 1.5 and ghost.score <= REMEMBERED

        stopped = frame(CAR, told=False)
        assert stopped.outcome == FrameStatus.ANSWERED and stopped.memory_state == FrameStatus.MEMORY_EMPTY
        assert "no odometry pose" in stopped.reset_reason
        b.told("no pose of the robot")
        waited, again = stages(stopped)["calibration"], stages(frame(CAR, told=False))["calibration"]
        assert again < waited / 2.0  # in vain once, then not again
        b.counted("frames_without_pose", 2)

        b.peer.until(lambda: frame(CAR).memory_state == FrameStatus.MEMORY_USED)
        jumped = frame(CAR, jump=500.0)
        assert jumped.memory_state == FrameStatus.MEMORY_EMPTY and "jump" in jumped.reset_reason
        assert frame(CAR, jump=500.0).memory_state == FrameStatus.MEMORY_USED


def test_a_bag_that_loops_empties_the_memory(tmp_path):
    with bench(tmp_path, spec=TEMPORAL_SPEC) as b:
        drive = Drive(b.peer, over_tf=True)
        for stamp_ns in (T0, T0 + S // 2):
            drive.at(stamp_ns)
            b.rig.shoot(stamp_ns)
            status = b.status(stamp_ns)
        assert status.memory_state == FrameStatus.MEMORY_USED
        drive.at(T0 - 60 * S)
        b.rig.shoot(T0 - 60 * S)
        back = b.status(T0 - 60 * S)
        assert back.outcome == FrameStatus.ANSWERED and back.memory_state == FrameStatus.MEMORY_EMPTY
        assert "went back" in back.reset_reason
