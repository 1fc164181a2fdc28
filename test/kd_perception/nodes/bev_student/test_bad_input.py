"""Input that is not what it should be, as real messages to a real detector: it goes on, counts, and says so."""

import math
from dataclasses import replace
from types import TracebackType

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage
from support.detector import T0, Bench, S, bench
from support.fake_student import REMEMBERED
from support.graph import Peer
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import FrameStatus
from kd_perception.geometry.transforms import make_transform
from kd_perception.ros.live import LIVE
from kd_perception.ros.qos import EVERY_RESULT, TF
from kd_perception.ros.stamps import to_nanoseconds, to_time

pytestmark = pytest.mark.ros
CAR = (12.0, 1.0)


def replace_image(detector: Bench, camera: int, message: CompressedImage) -> FrameStatus:
    """Shoot a frame in which one camera sends this message."""
    stamp_ns = detector.next_stamp(S // 10)
    message.header.stamp = to_time(stamp_ns)
    detector.rig.shoot(stamp_ns, leave_out=[camera])
    detector.rig.images[camera].publish(message)
    return detector.status(stamp_ns)


def test_a_frozen_camera_is_reported_while_its_stamps_advance(detector):
    before = detector.counter("frozen_images")
    frozen = detector.rig.message(1, 0, detector.rig.pictures(None)[1])
    for _ in range(7):
        status = replace_image(detector, 1, frozen)
        assert status.outcome == FrameStatus.ANSWERED and not status.missing_cameras
    detector.counted("frozen_images", before + 2)
    (frozen,) = [text for text in detector.reported("is frozen").status[0].message.split("; ") if "is frozen" in text]
    assert detector.rig.names[1] in frozen and detector.rig.names[0] not in frozen
    count = detector.counter("frozen_images")
    detector.works(detector.next_stamp(S // 10))
    assert detector.counter("frozen_images") == count


def test_a_black_camera_is_reported(detector):
    before = detector.counter("black_images")
    black = detector.rig.message(2, 0, np.zeros((256, 704, 3), np.uint8))
    assert replace_image(detector, 2, black).outcome == FrameStatus.ANSWERED
    assert detector.rig.names[2] in detector.reported("is black").status[0].message
    detector.counted("black_images", before + 1)
    detector.works(detector.next_stamp(S // 10))


@pytest.mark.parametrize("width, height", [(352, 128), (100, 100)])
def test_another_resolution_masks_the_camera_and_says_both_sizes(detector, width, height):
    small = detector.rig.message(1, 0, np.full((height, width, 3), 60, np.uint8))
    status = replace_image(detector, 1, small)
    assert status.outcome == FrameStatus.ANSWERED and list(status.missing_cameras) == [detector.rig.names[1]]
    detector.reported(f"image is {width}x{height} pixels but its calibration is for 704x256")
    detector.works(detector.next_stamp(S // 10))


def test_two_publishers_on_a_topic_are_reported_but_a_restarted_driver_is_not(detector):
    before = detector.counter("images_of_several_publishers")
    topic = f"/{detector.rig.names[1]}/image/compressed"
    second = detector.peer.node.create_publisher(CompressedImage, topic, EVERY_RESULT)
    detector.peer.until(second.get_subscription_count)
    first, detector.rig.images[1] = detector.rig.images[1], second
    detector.works(detector.next_stamp(S // 10))  # another publisher than before: a driver may have been started anew
    assert detector.counter("images_of_several_publishers") == before
    for publisher in (first, second, first):
        detector.rig.images[1] = publisher
        detector.works(detector.next_stamp(S // 10))
    detector.counted("images_of_several_publishers", before + 1)
    assert detector.rig.names[1] in detector.reported("several publishers").status[0].message
    detector.peer.node.destroy_publisher(second)


def test_bytes_that_are_no_message_content_are_refused(detector):
    status = replace_image(detector, 1, CompressedImage(format="jpeg", data=b""))
    assert list(status.missing_cameras) == [detector.rig.names[1]]
    detector.reported("image is empty")
    detector.works(detector.next_stamp(S // 10))


def test_a_changed_camera_info_takes_effect_at_once_and_is_reported_once(detector):
    name, lens = detector.rig.names[0], detector.rig.cameras[0]
    before = detector.counter("calibration_changes")
    longer = replace(lens, intrinsics=lens.intrinsics * np.array([[1.5, 1.0, 1.0], [1.0, 1.5, 1.0], [1.0, 1.0, 1.0]]))
    detector.rig.infos[0].publish(LIVE.camera_info(longer, name))
    places = []
    for _ in range(20):
        stamp_ns = detector.next_stamp(S // 10)
        detector.rig.shoot(stamp_ns, CAR)
        places += [abs(d.pose.position.y) for d in detector.found(stamp_ns).detections[:1]]
        if places[-1] < 0.8:  # the same pixel lies at a smaller angle
            break
    assert places[-1] < 0.8 and all(place > 0.8 for place in places[:-1])
    detector.counted("calibration_changes", before + 1)
    assert name in detector.reported("calibration of").status[0].message
    detector.rig.calibrate()
    detector.shoot_until(lambda status: detector.last_counter("calibration_changes") == before + 2)
    detector.works(detector.next_stamp(S // 10))
    assert detector.counter("calibration_changes") == before + 2  # and no flapping


def test_a_moved_camera_is_reported_and_used(detector):
    before = detector.counter("calibration_changes")
    moved = make_transform(np.array([1.0, 0.0, 0.0, 0.0]), [3.0, 0.0, 0.0]) @ detector.rig.cameras[0].ego_from_camera
    detector.rig.tf.publish(TFMessage(transforms=[LIVE.transform("base_link", detector.rig.names[0], 0, moved)]))
    detector.peer.until(lambda: found_x(detector) > CAR[0] + 2.0)
    detector.counted("calibration_changes", before + 1)
    detector.rig.tf.publish(TFMessage(transforms=detector.rig.transforms()))
    detector.peer.until(lambda: abs(found_x(detector) - CAR[0]) < 1.5)


def found_x(detector: Bench) -> float:
    """Where the painted car is found now."""
    stamp_ns = detector.next_stamp(S // 10)
    detector.rig.shoot(stamp_ns, CAR)
    detections = detector.found(stamp_ns).detections
    return detections[0].pose.position.x if detections else math.nan


def test_a_transform_that_comes_late_is_waited_for_and_one_that_never_comes_only_once(tmp_path):
    with bench(tmp_path, calibrate=False, sync_deadline_ms=3000.0) as b:
        for camera, publisher in zip(b.rig.cameras, b.rig.infos, strict=True):
            publisher.publish(LIVE.camera_info(camera, camera.name))
        b.rig.tf.publish(TFMessage(transforms=b.rig.transforms()[:2]))  # the third camera hangs on /tf, which is late
        tf = b.peer.node.create_publisher(TFMessage, "/tf", TF)
        b.peer.until(tf.get_subscription_count)

        def third(stamp_ns: int) -> TransformStamped:
            return LIVE.transform("base_link", b.rig.names[2], stamp_ns, b.rig.cameras[2].ego_from_camera)

        tf.publish(TFMessage(transforms=[third(T0 - S)]))
        b.rig.shoot(T0)
        tf.publish(TFMessage(transforms=[third(T0)]))
        b.shoot_until(lambda status: list(status.missing_cameras) == [b.rig.names[2]])  # none newer than T0 comes
        b.reported("after the newest transform received")
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

    def __init__(self, peer: Peer, *, over_tf: bool, speed: float = 4.0) -> None:
        kind, topic = (TFMessage, "/tf") if over_tf else (Odometry, "/odom")
        self._node, self._publisher = peer.node, peer.node.create_publisher(kind, topic, TF)
        peer.until(self._publisher.get_subscription_count)
        self._over_tf, self._speed = over_tf, speed

    def at(self, stamp_ns: int, jump: float = 0.0) -> None:
        """Tell the pose at a time, `jump` metres further than driven."""
        x = self._speed * (stamp_ns - T0) / 1e9 + jump
        if self._over_tf:
            pose = make_transform(np.array([1.0, 0.0, 0.0, 0.0]), [x, 0.0, 0.0])
            self._publisher.publish(TFMessage(transforms=[LIVE.transform("odom", "base_link", stamp_ns, pose)]))
            return
        message = Odometry(child_frame_id="base_link")
        message.header.stamp, message.header.frame_id = to_time(stamp_ns), "odom"
        message.pose.pose.position.x, message.twist.twist.linear.x = x, self._speed
        self._publisher.publish(message)

    def __enter__(self) -> "Drive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._node.destroy_publisher(self._publisher)


@pytest.mark.parametrize("over_tf", [False, True])
def test_a_student_with_memory_follows_odometry_and_says_when_it_stops_or_jumps(temporal_detector, over_tf):
    b = temporal_detector
    with Drive(b.peer, over_tf=over_tf) as drive:

        def frame(xy, *, jump: float = 0.0, posed: bool = True) -> FrameStatus:
            stamp_ns = b.next_stamp(S // 2)
            if posed:
                drive.at(stamp_ns, jump)
            b.rig.shoot(stamp_ns, xy)
            return b.status(stamp_ns)

        first = frame(CAR)
        assert (first.outcome, first.memory_state) == (FrameStatus.ANSWERED, FrameStatus.MEMORY_EMPTY)
        b.peer.until(lambda: frame(CAR).memory_state == FrameStatus.MEMORY_USED)  # the first pose may get lost
        hidden = frame(None)  # the car is not seen any more, but remembered, two metres nearer
        assert hidden.memory_state == FrameStatus.MEMORY_USED and not hidden.reset_reason
        (ghost,) = b.found(to_nanoseconds(hidden.header.stamp)).detections
        assert abs(ghost.pose.position.x - (CAR[0] - 2.0)) < 1.5 and ghost.score <= REMEMBERED

        unposed = b.counter("frames_without_pose")
        stopped = frame(CAR, posed=False)
        assert stopped.outcome == FrameStatus.ANSWERED and stopped.memory_state == FrameStatus.MEMORY_EMPTY
        assert "no odometry pose" in stopped.reset_reason
        b.reported("no pose of the robot")
        waited, again = stages(stopped)["calibration"], stages(frame(CAR, posed=False))["calibration"]
        assert again < waited / 2.0  # waited for once, then not again
        b.counted("frames_without_pose", unposed + 2)

        b.peer.until(lambda: frame(CAR).memory_state == FrameStatus.MEMORY_USED)
        jumped = frame(CAR, jump=500.0)
        assert jumped.memory_state == FrameStatus.MEMORY_EMPTY and "jump" in jumped.reset_reason
        assert frame(CAR, jump=500.0).memory_state == FrameStatus.MEMORY_USED


def test_a_bag_that_loops_empties_the_memory(temporal_detector):
    b = temporal_detector
    with Drive(b.peer, over_tf=True) as drive:

        def frame(step_ns: int) -> FrameStatus:
            stamp_ns = b.next_stamp(step_ns)
            drive.at(stamp_ns)
            b.rig.shoot(stamp_ns)
            return b.status(stamp_ns)

        b.peer.until(lambda: frame(S // 2).memory_state == FrameStatus.MEMORY_USED)
        back = frame(-60 * S)
        assert back.outcome == FrameStatus.ANSWERED and back.memory_state == FrameStatus.MEMORY_EMPTY
        assert "went back" in back.reset_reason
