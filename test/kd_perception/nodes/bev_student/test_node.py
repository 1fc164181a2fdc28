"""The detector as a process, fed with real messages: what it finds, what it says, and that no input ends it."""

import itertools
import math

import numpy as np
import pytest
import vision_msgs.msg
from autoware_perception_msgs.msg import DetectedObjects, ObjectClassification
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Quaternion
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CompressedImage, Image
from support.detector import T0, S, bench, values
from support.domains import free_domain
from support.fake_student import write_fake_student
from support.graph import PaintedRig, Peer
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import FrameStatus
from kd_perception.bringup.graph import bev_student_graph
from kd_perception.bringup.processes import GraphError, running
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.ros.live import LIVE
from kd_perception.ros.stamps import to_nanoseconds, to_time

pytestmark = pytest.mark.ros


def test_finds_a_painted_car_and_reports_the_frame(detector):
    stamp = detector.next_stamp()
    detector.rig.shoot(stamp, xy=(12.0, 1.0))
    found = detector.found(stamp)
    (car,) = found.detections
    assert car.class_name == "car" and math.hypot(car.pose.position.x - 12.0, car.pose.position.y - 1.0) < 1.5
    assert found.header.frame_id == "base_link" and found.model.startswith("painted@")
    status = detector.status(stamp)
    assert status.outcome == FrameStatus.ANSWERED and not status.missing_cameras and not status.reason
    stages = dict(zip(status.stage_names, status.stage_ms, strict=True))
    assert {"preprocess", "inference", "decode", "total", "messages", "end_to_end"} <= set(stages)
    assert stages["end_to_end"] >= stages["total"] > 0.0
    assert list(status.camera_names) == detector.rig.names and np.allclose(status.camera_age_ms, 0.0)
    detector.peer.until(lambda: detector.totals)
    assert status.memory_state == FrameStatus.MEMORY_NONE
    detector.works(detector.next_stamp())
    after = detector.statuses[-1]
    assert after.frames_received == status.frames_received + 1
    assert after.frames_answered == status.frames_answered + 1
    detector.peer.until(lambda: any(d.status[0].level == DiagnosticStatus.OK for d in detector.diagnostics))
    assert {(s.name, s.hardware_id) for d in detector.diagnostics for s in d.status} == {
        ("bev_student: health", "bev_student")
    }


def test_the_same_boxes_leave_in_each_chosen_message(detector):
    vision = detector.peer.listen(vision_msgs.msg.Detection3DArray, "/bev_student/output/vision/objects")
    autoware = detector.peer.listen(DetectedObjects, "/bev_student/output/autoware/objects")
    detector.shoot_until(lambda _: vision and autoware)
    (seen,), (found,) = vision[-1].detections, autoware[-1].objects
    assert vision[-1].header.frame_id == autoware[-1].header.frame_id == "base_link"
    stamp = to_nanoseconds(vision[-1].header.stamp)
    assert stamp in {to_nanoseconds(message.header.stamp) for message in detector.objects}
    assert seen.results[0].hypothesis.class_id == "car" and found.classification[0].label == ObjectClassification.CAR
    for pose in (seen.bbox.center, found.kinematics.pose_with_covariance.pose):
        assert math.hypot(pose.position.x - 12.0, pose.position.y - 1.0) < 1.5


def test_raw_images_and_another_number_of_cameras(tmp_path):
    with bench(tmp_path, count=4, transport="raw") as b:
        b.works(T0)
        bad = Image(height=4, width=4, encoding="yuv422", step=8, data=b"\0" * 32)
        bad.header.stamp = to_time(T0 + S)
        b.rig.shoot(T0 + S, leave_out=[1])
        b.rig.images[1].publish(bad)
        assert list(b.status(T0 + S).missing_cameras) == [b.rig.names[1]]
        b.reported("yuv422")
        b.works(T0 + 2 * S)


def test_a_missing_camera_is_masked_and_named(detector):
    stamp = detector.next_stamp()
    detector.rig.shoot(stamp, leave_out=[2])
    status = detector.status(stamp)
    assert status.outcome == FrameStatus.ANSWERED and list(status.missing_cameras) == [detector.rig.names[2]]
    assert math.isnan(status.camera_age_ms[2]) and status.camera_age_ms[0] == 0.0
    detector.works(detector.next_stamp())


def test_truncated_and_foreign_images_are_masked(detector):
    whole = bytes(detector.rig.message(1, 0, detector.rig.pictures(None)[1]).data)
    for data in (whole[:500], b"no image", b""):
        stamp = detector.next_stamp()
        detector.rig.shoot(stamp, leave_out=[1])
        message = CompressedImage(format="jpeg", data=data)
        message.header.stamp = to_time(stamp)
        detector.rig.images[1].publish(message)
        status = detector.status(stamp)
        assert status.outcome == FrameStatus.ANSWERED and list(status.missing_cameras) == [detector.rig.names[1]]
    detector.reported(f"camera '{detector.rig.names[1]}'")
    detector.works(detector.next_stamp())


def test_a_frame_without_any_usable_image_is_blind_and_not_an_empty_street(detector):
    before = detector.counter("frames_blind")
    stamp = detector.next_stamp()
    for publisher in detector.rig.images:
        message = CompressedImage(format="h264", data=b"no picture")
        message.header.stamp = to_time(stamp)
        publisher.publish(message)
    status = detector.status(stamp)
    assert status.outcome == FrameStatus.BLIND and list(status.missing_cameras) == detector.rig.names
    assert "all cameras are masked" in status.reason and "h264 is not supported" in status.reason
    detector.counted("frames_blind", before + 1)
    detector.reported("all cameras are masked")
    detector.works(detector.next_stamp())
    after = detector.statuses[-1]
    assert after.frames_answered == status.frames_answered + 1 and after.frames_dropped == status.frames_dropped
    assert stamp not in {to_nanoseconds(found.header.stamp) for found in detector.objects}


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_calibration_that_is_zero_or_nan_masks_the_camera_until_it_is_good(detector, value):
    bad = LIVE.camera_info(detector.rig.cameras[1], detector.rig.names[1])
    bad.k = [value] * 9
    detector.rig.infos[1].publish(bad)
    detector.shoot_until(lambda status: list(status.missing_cameras) == [detector.rig.names[1]])
    detector.reported(detector.rig.names[1])
    detector.rig.calibrate()
    detector.shoot_until(lambda status: not status.missing_cameras)


def test_without_tf_or_calibration_frames_are_refused_with_a_sentence_until_they_come(tmp_path):
    with bench(tmp_path, calibrate=False) as b:
        b.rig.shoot(T0)
        status = b.status(T0)
        assert status.outcome == FrameStatus.REJECTED and "no CameraInfo" in status.reason
        for camera, publisher in zip(b.rig.cameras, b.rig.infos, strict=True):
            publisher.publish(LIVE.camera_info(camera, camera.name))
        b.shoot_until(lambda status: "unknown to tf" in status.reason)
        b.reported("unknown to tf")
        b.rig.tf.publish(TFMessage(transforms=b.rig.transforms()))
        b.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED)
        b.works(to_nanoseconds(b.statuses[-1].header.stamp) + S)


def test_silent_cameras_and_those_on_the_other_transport_are_named_with_topic_and_seconds(tmp_path):
    with bench(tmp_path) as b:
        silent = b.reported("no camera sends images: nothing for").status[0]
        assert silent.level == DiagnosticStatus.WARN and "/camera0/image/compressed and 2 more topics" in silent.message
        raw = b.peer.node.create_publisher(Image, "/camera0/image", 1)
        b.reported("it publishes on /camera0/image: set the parameter transport to raw")
        b.peer.node.destroy_publisher(raw)

        def anchor_is_told() -> bool:
            b.rig.shoot(b.next_stamp(S // 10), leave_out=[0])
            return any("'camera0', the anchor without which" in d.status[0].message for d in b.diagnostics)

        b.peer.until(anchor_is_told)

        def clock_is_told() -> bool:
            stamp_ns = b.next_stamp(S // 10)
            b.rig.shoot(stamp_ns, leave_out=[2])
            b.rig.images[2].publish(b.rig.message(2, stamp_ns - 5 * S, b.rig.pictures(None)[2]))
            return any("'camera2' joins no frame: its stamps are 5." in d.status[0].message for d in b.diagnostics)

        b.peer.until(clock_is_told)
        assert b.counter("cameras_apart") and b.counter("silent_cameras")


def test_transforms_that_are_no_transforms_are_refused(detector):
    entry = detector.rig.transforms()[0]
    entry.transform.rotation = Quaternion(x=0.0, y=0.0, z=0.0, w=0.0)
    cycle = detector.rig.transforms()[1]
    cycle.header.frame_id, cycle.child_frame_id = cycle.child_frame_id, cycle.header.frame_id
    detector.rig.tf.publish(TFMessage(transforms=[entry, cycle]))
    detector.reported("was refused")
    detector.works(detector.next_stamp())


def test_stamps_that_go_back_reset_with_a_reason(detector):
    detector.works(detector.next_stamp())
    stamp = detector.next_stamp(-100 * S)
    detector.rig.shoot(stamp)
    status = detector.status(stamp)
    assert status.outcome == FrameStatus.ANSWERED and "went back by 100.000 s" in status.reset_reason
    detector.reported("went back")
    detector.works(detector.next_stamp())


def test_images_without_a_stamp_and_duplicates_get_a_status_each(detector):
    detector.rig.shoot(0)
    unstamped = detector.status(0)
    assert unstamped.outcome == FrameStatus.REJECTED and "no stamp" in unstamped.reason
    stamp = detector.next_stamp()
    detector.rig.shoot(stamp)
    detector.found(stamp)
    detector.rig.shoot(stamp)
    status = detector.peer.until(
        lambda: next((s for s in detector.statuses if "several images have" in s.reason), None)
    )
    assert status.outcome == FrameStatus.REJECTED and to_nanoseconds(status.header.stamp) == stamp
    detector.counted("images_late", 1)
    detector.reported("several images have the stamp")
    detector.works(detector.next_stamp())
    assert detector.counter("images_without_stamp") >= len(detector.rig.names)


def test_odometry_that_jumps_resets(detector):
    odometry = detector.peer.node.create_publisher(Odometry, "/odom", 10)
    detector.peer.until(odometry.get_subscription_count)
    message = Odometry()
    message.twist.twist.linear.x = 1.0

    def jumped():
        """Every message is 80 m from the last, a tenth of a second later (some may be lost: best effort)."""
        message.header.stamp = to_time(detector.next_stamp(S // 10))
        message.pose.pose.position.x += 80.0
        odometry.publish(message)
        return any("odometry jumped" in d.status[0].message for d in detector.diagnostics)

    detector.peer.until(jumped)
    stamp = detector.next_stamp()
    detector.rig.shoot(stamp)
    assert "odometry jumped" in detector.status(stamp).reset_reason
    detector.peer.node.destroy_publisher(odometry)


def test_every_anchor_image_that_comes_is_answered_or_dropped_and_counted(detector):
    before = detector.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED)
    stamps = [detector.next_stamp(S // 10) for _ in range(30)]
    for stamp in stamps:
        detector.rig.shoot(stamp)
    detector.status(stamps[-1])
    outcomes = {to_nanoseconds(status.header.stamp): status.outcome for status in detector.statuses}
    came = [stamp for stamp in stamps if stamp in outcomes]  # the burst may overrun the subscription's queue
    assert len(came) > len(stamps) // 3 and outcomes[stamps[-1]] == FrameStatus.ANSWERED
    last = detector.statuses[-1]
    answered = [stamp for stamp in came if outcomes[stamp] == FrameStatus.ANSWERED]
    assert last.frames_received - before.frames_received == len(came)
    assert last.frames_answered - before.frames_answered == len(answered)
    assert last.frames_dropped - before.frames_dropped == len(came) - len(answered)
    detector.found(stamps[-1])
    assert {to_nanoseconds(found.header.stamp) for found in detector.objects} & set(stamps) == set(answered)


def test_nothing_is_computed_while_nobody_listens(tmp_path):
    domain = free_domain()
    with Peer(domain) as peer:
        rig = PaintedRig(peer)
        model, names = write_fake_student(tmp_path / "s.onnx"), tuple(rig.names)
        detector = DetectorOptions(model=model, engine="onnxruntime", camera_names=names, threads=1)
        graph = bev_student_graph(detector, GraphOptions())
        diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
        with running(graph, domain_id=domain):
            peer.until(rig.connected)
            rig.calibrate()
            stamps = itertools.count(T0, S // 10)

            def ignored():
                """Shoots again and again: sensor data is best effort, some images may be lost."""
                rig.shoot(next(stamps))
                reached = values(diagnostics[-1]) if diagnostics else {}
                return int(reached.get("images_ignored_without_listeners", "0")) >= len(rig.names)

            peer.until(ignored)
            assert "frames_answered" not in values(diagnostics[-1])


def test_slow_processing_is_reported(tmp_path):
    with bench(tmp_path, max_allowed_processing_time_ms=0.001, max_acceptable_consecutive_delay_ms=0.0) as b:
        b.works(T0)
        b.works(T0 + S)
        error = b.peer.until(lambda: next((d for d in b.diagnostics if d.status[0].level == d.status[0].ERROR), None))
        assert "allowed" in error.status[0].message


@pytest.mark.parametrize(
    "content, sentence", [(None, "does not exist"), (b"ONNX, or so it says", "no readable ONNX file")]
)
def test_a_student_file_that_cannot_be_used_fails_bring_up_with_its_sentence(tmp_path, content, sentence):
    model = tmp_path / "broken.onnx"
    if content is not None:
        model.write_bytes(content)
    with pytest.raises(GraphError, match=f"bev_student could not be configured: .*{sentence}"):
        with running(bev_student_graph(DetectorOptions(model=model), GraphOptions()), domain_id=free_domain()):
            pass


def test_a_truncated_student_file(tmp_path):
    whole = write_fake_student(tmp_path / "s.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GraphError, match="bev_student could not be configured: .*cut.onnx"):
        graph = bev_student_graph(DetectorOptions(model=tmp_path / "cut.onnx"), GraphOptions())
        with running(graph, domain_id=free_domain()):
            pass


def test_build_only_opens_the_engine_and_ends(tmp_path):
    model = write_fake_student(tmp_path / "s.onnx")
    graph = bev_student_graph(DetectorOptions(model=model, engine="onnxruntime", build_only=True), GraphOptions())
    with running(graph, domain_id=free_domain()) as processes:
        processes.wait(30.0)
    assert processes.nodes[0].exit_code == 0
