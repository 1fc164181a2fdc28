"""What the detector watches and waits for, without a graph: cameras, poses, and grace periods."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from support.fake_student import SPEC

from kd_perception.errors import CalibrationError
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.transforms import make_transform
from kd_perception.nodes.bev_student.camera_watch import FROZEN_AFTER, CameraWatch
from kd_perception.nodes.bev_student.detection import FrameDetector
from kd_perception.nodes.common.grace_period import GracePeriod
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.ros.frame_tree import TransformError
from kd_perception.ros.live import LIVE
from kd_perception.ros.received import read_image
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.stamps import to_time
from kd_perception.ros.tf_buffer import TransformBuffer
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.runtime.pipeline_exchange import PipelineExchange
from kd_perception.student.box_codes import AXIS
from kd_perception.student.spec import Student

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


def test_an_image_that_differs_in_one_byte_is_another_one(watch):
    image = np.zeros((200, 4, 3), np.uint8)
    other = image.copy()
    other[129, 2, 1] = 1  # in a row that the first, quick look leaves out
    said = [watch.frozen(FRONT, stamp * S, (image, other)[stamp % 2]) for stamp in range(20)]
    assert not any(said)
    assert not any(watch.frozen(REAR, stamp * S, memoryview(bytes(stamp + 1))) for stamp in range(20))


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


def test_odometry_without_a_child_frame_is_of_the_base():
    poses = PoseSource(TransformBuffer(), "odom", "base_link")
    for stamp in (0, 1):
        poses.add(stamp * S, "odom", "", pose(10.0 * stamp))
    assert poses.lookup(S // 2)[0, 3] == 5.0


def test_odometry_of_the_footprint_is_composed_with_its_link_to_the_base():
    transforms = TransformBuffer()
    poses = PoseSource(transforms, "odom", "base_link")
    turned = make_transform(np.array([np.cos(0.4), 0.0, 0.0, np.sin(0.4)]), [3.0, 1.0, 0.0])
    for stamp in (0, 1):
        poses.add(stamp * S, "odom", "base_footprint", turned)
    with pytest.raises(TransformError, match="gives 'base_footprint' in 'odom', but 'base_link' is wanted.*unknown"):
        poses.lookup(S // 2)
    link = make_transform(np.array([1.0, 0.0, 0.0, 0.0]), [0.3, 0.1, 0.25])
    transforms.set_transform("base_footprint", "base_link", 0, link, static=True)
    np.testing.assert_allclose(poses.lookup(S // 2), turned @ link)
    with pytest.raises(TransformError, match="odom"):
        poses.lookup(2 * S)


def test_odometry_between_other_frames_is_named_with_those_that_are_wanted():
    poses = PoseSource(TransformBuffer(), "odom", "base_link")
    poses.add(0, "map", "base_footprint", pose(1.0))
    with pytest.raises(TransformError, match="gives 'base_footprint' in 'map', but 'base_link' in 'odom' is wanted"):
        poses.lookup(0)
    poses.add(0, "", "", pose(1.0))
    with pytest.raises(TransformError, match="gives an unnamed frame in an unnamed frame"):
        poses.lookup(0)


class LateInput:
    """An input that reaches frame k when `arrivals[k]` seconds have passed; a later arrival brings all before it."""

    def __init__(self, arrivals: dict[int, float]) -> None:
        self.started_s = time.monotonic()
        self.arrivals = arrivals
        self.calls = 0

    def missing(self, frame: int) -> set[str]:
        self.calls += 1
        passed_s = time.monotonic() - self.started_s
        newest = max((k for k, at_s in self.arrivals.items() if at_s <= passed_s), default=-1)
        return set() if frame <= newest else {"pose"}


def test_an_input_that_has_ended_costs_one_grace_period():
    grace, nothing = GracePeriod(0.05, threading.Event()), LateInput({})
    grace.wait(nothing.missing, 0, time.monotonic())
    assert nothing.calls > 1
    for frame in range(1, 4):
        nothing.calls = 0
        grace.wait(nothing.missing, frame, time.monotonic())
        assert nothing.calls == 2  # whether it goes on, and whether it is there: given up


@pytest.mark.parametrize("frames_between", [0, 1, 5])
def test_the_grace_period_starts_again_when_the_input_goes_on(frames_between):
    grace, late = GracePeriod(0.2, threading.Event()), LateInput({})
    grace.wait(late.missing, 0, time.monotonic())
    for frame in range(1, 1 + frames_between):
        grace.wait(late.missing, frame, time.monotonic())
    late.started_s, late.arrivals = time.monotonic(), {frames_between: 0.0, frames_between + 1: 0.03}
    grace.wait(late.missing, frames_between + 1, time.monotonic())
    assert not late.missing(frames_between + 1)  # it was waited for


def test_one_late_pose_does_not_end_waiting_for_good():
    period_s = 0.1
    lags = dict.fromkeys(range(10), 0.5 * period_s) | {2: 3.0 * period_s}
    poses = LateInput({frame: frame * period_s + lag for frame, lag in lags.items()})
    grace, lacking = GracePeriod(period_s, threading.Event()), []
    for frame in range(10):
        shot_s = poses.started_s + frame * period_s
        time.sleep(max(0.0, shot_s - time.monotonic()))
        grace.wait(poses.missing, frame, shot_s)
        lacking += [frame] if poses.missing(frame) else []
    assert set(lacking) <= {2, 3}


def test_inputs_are_given_up_one_by_one():
    grace = GracePeriod(0.02, threading.Event())
    grace.wait(lambda frame: {"front", "rear"}, 0, time.monotonic())
    asked = []

    def missing(frame):
        asked.append(frame)
        return {"rear"} if frame == 0 or len(asked) > 5 else {"front", "rear"}

    grace.wait(missing, 1, time.monotonic())
    assert len(asked) > 5 and asked[0] == 0  # the front goes on: waited for; the rear does not


def test_once_ended_nothing_is_waited_for():
    ended = threading.Event()
    grace = GracePeriod(1000.0, ended)
    threading.Timer(0.05, ended.set).start()
    grace.wait(lambda frame: {"absent"}, 0, time.monotonic())
    assert ended.is_set()


class BlindEngine:
    """Finds nothing, and counts which geometry tables it was given."""

    name = "blind"
    not_kept = ""

    def __init__(self) -> None:
        self.tables: list[np.ndarray] = []

    def run(self, inputs):
        self.tables.append(inputs["pixel_index"])
        rows, columns = SPEC.grid.shape
        return {
            "heatmap": np.zeros((len(CLASSES), rows, columns), np.float32),
            "regression": np.zeros((len(NUSCENES.groups), len(AXIS.names), rows, columns), np.float32),
        }


def message(stamp_ns, camera, frame_id=""):
    raw = Image(height=camera.height, width=camera.width, encoding="rgb8", step=3 * camera.width)
    raw.header.stamp, raw.header.frame_id = to_time(stamp_ns), frame_id
    raw.data = bytes([90, stamp_ns % 251, 0]) * (camera.height * camera.width)
    return read_image(serialize_message(raw))


@pytest.fixture
def detector():
    """A detector on two calibrated cameras, the buffer of its transforms, and its engine."""
    rig, buffer, engine = ring_rig(2, 352, 128), TransformBuffer(), BlindEngine()
    source = RigSource([camera.name for camera in rig], "base_link", buffer)
    for index, camera in enumerate(rig):
        buffer.set_transform("base_link", camera.name, 0, camera.ego_from_camera, static=True)
        source.set_info(index, LIVE.camera_info(camera, camera.name))
    pipeline = Pipeline(Student(Path("none"), SPEC, ""), engine, 2)
    poses = PoseSource(buffer, "odom", "base_link")
    students = PipelineExchange(pipeline)
    yield FrameDetector(students, source, poses, CameraWatch(source.names), deadline_s=0.0), buffer, engine
    pipeline.close()


def record_at(stamp_ns, frame_id=""):
    images = tuple(message(stamp_ns, camera, frame_id) for camera in ring_rig(2, 352, 128))
    return FrameRecord(stamp_ns, time.monotonic(), images, (0, 0))


def test_stages_fill_in_one_record(detector):
    frames, _, _ = detector
    record = record_at(S)
    frames.prepare(record)
    assert [camera.name for camera in record.cameras] == ["camera0", "camera1"] and not record.uncalibrated
    assert list(record.stage_ms) == ["wait", "calibration", "preprocess"] and record.outcome is None
    assert record.inputs["camera_valid"].tolist() == [1.0, 1.0] and not record.masked
    frames.infer(record)
    assert list(record.stage_ms)[3:] == ["inference", "decode", "total"] and record.engine == "blind"
    assert not len(record.boxes)


def test_cameras_and_tables_are_the_same_objects_until_the_calibration_changes(detector):
    frames, buffer, engine = detector
    records = [record_at(stamp * S) for stamp in range(1, 5)]
    for record in records:
        if record is records[3]:
            moved = buffer.lookup("base_link", "camera1", 0) @ pose(0.5)
            buffer.set_transform("base_link", "camera1", 0, moved, static=True)
        frames.prepare(record)
        frames.infer(record)
    first, second, third, last = (record.cameras for record in records)
    assert all(a is b is c for a, b, c in zip(first, second, third, strict=True))
    assert last[0] is first[0] and last[1] is not first[1]
    assert all(table is engine.tables[0] for table in engine.tables[:3]) and engine.tables[3] is not engine.tables[2]
    assert records[3].problems["calibration_changes"] == ["the calibration of camera1 has changed; in use from now"]
    assert not any("calibration_changes" in record.problems for record in records[:3])


def test_a_masked_camera_stays_where_it_was(detector):
    frames, buffer, engine = detector
    record, again = record_at(S), record_at(2 * S)
    frames.prepare(record), frames.infer(record)
    buffer.set_transform("elsewhere", "camera1", 0, pose(0.0), static=True)
    frames.prepare(again), frames.infer(again)
    assert "camera1" in again.uncalibrated and again.masked == {"camera1"}
    assert again.cameras[1] is record.cameras[1] and engine.tables[0] is engine.tables[1]


def test_images_in_another_frame_than_camera_info_are_reported_once(detector):
    frames, buffer, _ = detector
    buffer.set_transform("base_link", "camera0", 0, buffer.lookup("base_link", "camera0", 0), static=True)
    first, second, unknown = record_at(S, "camera0"), record_at(2 * S, "camera0"), record_at(3 * S, "nowhere")
    frames.prepare(first), frames.infer(first)
    (sentence,) = first.problems["frame_mismatches"]
    assert "camera1" in sentence and not first.masked
    np.testing.assert_array_equal(first.cameras[1].ego_from_camera, first.cameras[0].ego_from_camera)
    frames.prepare(second), frames.infer(second)
    assert "frame_mismatches" not in second.problems
    with pytest.raises(CalibrationError, match="'nowhere' is unknown to tf.*its CameraInfo is in 'camera0'"):
        frames.prepare(unknown)
