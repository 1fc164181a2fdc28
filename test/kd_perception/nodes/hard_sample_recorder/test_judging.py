"""A teacher's answer becomes a frame that may be kept, or a sentence why it cannot be compared."""

from dataclasses import replace

import numpy as np
import pytest
from support.disputed import CAMERAS, NAMES, SPEED, STUDENT, TEACHER, Moment
from support.kept_frames import T0, S, recorded
from tf2_msgs.msg import TFMessage

from kd_perception.bags import messages
from kd_perception.continual.held_messages import HeldMessage, HeldMessages
from kd_perception.continual.keeping import Candidate
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.geometry.transforms import make_transform
from kd_perception.nodes.common.odometry import PoseSource
from kd_perception.nodes.hard_sample_recorder.gathering import FrameMessages
from kd_perception.nodes.hard_sample_recorder.inputs import RecorderTopics
from kd_perception.nodes.hard_sample_recorder.intake import _stamp_ns
from kd_perception.nodes.hard_sample_recorder.judging import (
    FrameJudge,
    KnownClasses,
    NotComparedError,
    Surroundings3D,
)
from kd_perception.options.recorder import RecorderOptions
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.geometry import from_transform
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf_buffer import TransformBuffer

pytestmark = pytest.mark.ros

SETTINGS = RecorderOptions(camera_names=NAMES)
PLACES = {"~/input/points": "/LIDAR_TOP/points", "~/input/odometry": "/odom"}
PLACES |= {f"~/input/student/{what}": f"{STUDENT}/{what}" for what in ("objects", "status")}
PLACES |= {f"~/input/teacher/{what}": f"{TEACHER}/{what}" for what in ("objects", "status")}
HERE = ("car", 12.0, 0.0, 0.9)
PLACE = make_transform(np.array([1.0, 0.0, 0.0, 0.0]), np.array([155.0, 0.0, 0.0]))  # after 31 s


class Robot:
    """The recorder's parts without ROS running: messages are put where its callbacks put them."""

    def __init__(
        self, settings: RecorderOptions = SETTINGS, teacher: frozenset[str] = frozenset(NUSCENES.names)
    ) -> None:
        self.settings = settings
        topics = RecorderTopics.of(settings, lambda name: PLACES.get(name, f"/{name}"))
        self.held, self.transforms, self.static = HeldMessages(20.0, 10**8), TransformBuffer(60.0), []
        rig = RigSource(NAMES, "base_link", self.transforms)
        places = Surroundings3D(rig, self.transforms, PoseSource(self.transforms, "odom", "base_link"))
        messages = FrameMessages(self.held, topics, settings, lambda: self.static)
        self.judge = FrameJudge(self.held, topics, messages, KnownClasses(NUSCENES, frozenset(teacher)), places)

    def sees(self, moment: Moment, *, without: tuple[str, ...] = ()) -> None:
        for message in (*moment.sensors(), *moment.answers()):
            if message.topic in without:
                continue
            if message.topic in ("/tf", "/tf_static"):
                for entry in deserialise(message.cdr, TFMessage).transforms:
                    self.transforms.set_transform(
                        entry.header.frame_id, entry.child_frame_id, to_nanoseconds(entry.header.stamp),
                        from_transform(entry.transform), static=message.topic == "/tf_static",
                    )  # fmt: skip
            if message.topic == "/tf_static":
                self.static = [message]
            else:
                self.held.add(_stamp_ns(message.cdr, message.type_name), message)

    def candidate(self, moment: Moment, *, without: tuple[str, ...] = ()) -> Candidate:
        self.sees(moment, without=without)
        (answer,) = (message for message in moment.answers() if message.topic == f"{TEACHER}/objects")
        return self.judge.candidate(HeldMessage(moment.cloud_ns, answer), self.settings)


def kinds(candidate: Candidate) -> list[str]:
    return [dispute.kind.value for dispute in candidate.verdict.disputes]


def test_boxes_of_two_times_are_compared_at_the_students():
    """The robot drives 5 m/s and the cloud is 0.2 s younger: a standing car is 1 m nearer in the teacher's frame."""
    there = ("car", 12.0 - 0.2 * SPEED, 0.0, 0.9)
    candidate = Robot().candidate(Moment(10.0, [HERE], [there], cloud_s=0.2))
    assert not kinds(candidate) and candidate.verdict.compared == 2 and candidate.stamp_ns == T0 + 10 * S
    assert candidate.odom_from_base[0, 3] == pytest.approx(10.0 * SPEED)
    assert kinds(Robot().candidate(Moment(10.0, [], [there], cloud_s=0.2))) == ["missed"]
    still = Robot().candidate(Moment(10.0, [HERE], [HERE], cloud_s=0.0), without=("/tf", "/odom"))
    assert not kinds(still) and still.odom_from_base is None, "at one time nobody needs the robot's motion"


def test_odometry_serves_where_tf_has_no_pose():
    candidate = Robot().candidate(Moment(10.0, [HERE], [("car", 11.0, 0.0, 0.9)], cloud_s=0.2), without=("/tf",))
    assert not kinds(candidate) and candidate.odom_from_base[0, 3] == pytest.approx(50.0)


def test_a_jump_of_odometry_begins_new_places():
    """Within a frame it makes the motion between image and cloud unknown; between two frames it only separates them."""
    robot = Robot()
    assert robot.candidate(Moment(10.0, [HERE], [HERE])).odometry == 0
    assert robot.candidate(Moment(20.0, [HERE], [HERE])).odometry == 0, "50 m in 10 s at 5 m/s"
    for step in range(-2, 3):  # then the frame begins again where the robot was first
        at_ns = T0 + 31 * S + step * S // 20
        drive = messages.odometry(at_ns, np.eye(4) if step > 0 else PLACE, np.array([SPEED, 0.0, 0.0]), np.zeros(3))
        robot.held.add(at_ns, recorded("/odom", drive, at_ns))
    with pytest.raises(NotComparedError, match="jumped .* between image and cloud") as refusal:
        robot.candidate(Moment(31.0, [HERE], [HERE]), without=("/odom",))
    assert refusal.value.kind == "odometry_jumps"
    assert robot.candidate(Moment(40.0, [HERE], [HERE])).odometry > 0


def test_a_masked_camera_sees_nothing():
    behind = ("car", -12.0, 0.0, 0.9)
    assert kinds(Robot().candidate(Moment(10.0, [], [behind]))) == ["missed"]
    assert not kinds(Robot().candidate(Moment(10.0, [], [behind], masked=(CAMERAS[1].name,))))


def test_classes_that_one_side_does_not_know_are_left_out():
    cars = ClassList((replace(NUSCENES.groups[0]),))
    robot = Robot(teacher=cars.names)
    moment = Moment(10.0, [HERE, ("bus", 20.0, 3.0, 0.9)], [HERE], cloud_s=0.0, teacher_classes=cars)
    assert not kinds(robot.candidate(moment)), "a bus is unknown to this teacher, so not false"
    with pytest.raises(NotComparedError, match="bus, which not both sides know") as refusal:
        robot.candidate(Moment(20.0, [], [("bus", 12.0, 0.0, 0.9)]))
    assert refusal.value.kind == "foreign_classes"


SECTOR = np.column_stack([np.zeros(9), np.linspace(8.0, 9.0, 9), np.zeros(9)])  # to the left: no camera looks there


@pytest.mark.parametrize(
    ("moment", "before", "kind", "reason"),
    [
        (Moment(10.0, None), None, "frames_without_student", "has not yet"),
        (Moment(10.0, None), Moment(9.0, teacher=None), "frames_without_student", "no frame within 250 ms"),
        (Moment(10.0, cloud_s=0.4), None, "frames_without_student", "raise pair_ms"),
        (Moment(5000.0, cloud_s=-4000.0), None, "teacher_late", "4000.0 s after its cloud"),
        (Moment(10.0, None), Moment(15.0, teacher=None), "teacher_late", "5.0 s after its cloud.*teacher_max_age_s"),
        (Moment(10.0, frame="map"), None, "foreign_frames", "in frame 'map', not in 'base_link'"),
        (Moment(10.0, cloud=SECTOR), None, "no_common_view", "no direction in which a camera looks"),
        (Moment(10.0, masked=NAMES), None, "frames_without_cameras", "no camera"),
    ],
)
def test_what_cannot_be_compared_says_why(moment, before, kind, reason):
    robot = Robot()
    if before is not None:
        robot.sees(before)
    with pytest.raises(NotComparedError, match=reason) as refusal:
        robot.candidate(moment)
    assert refusal.value.kind == kind


def test_a_clock_of_leap_seconds_is_named_as_such():
    """The LiDAR is stamped by TAI, and says so 37 s ahead of the cameras; both come at once."""
    robot, moment = Robot(), Moment(10.0, [HERE], [HERE], cloud_s=37.0)
    robot.sees(moment, without=("/LIDAR_TOP/points",))
    (cloud,) = (message for message in moment.sensors() if message.topic == "/LIDAR_TOP/points")
    robot.held.add(moment.cloud_ns, replace(cloud, received_ns=moment.stamp_ns))
    with pytest.raises(NotComparedError, match="37 s apart, so they are of two clocks; synchronise") as refusal:
        robot.candidate(moment, without=("/LIDAR_TOP/points",))
    assert refusal.value.kind == "clocks_apart"


def test_an_answer_over_the_border_of_two_recordings_is_late():
    """Cameras play the next bag already while the teacher still answers a cloud of the last one."""
    robot, last, following = Robot(), Moment(10.0, [HERE], [HERE]), Moment(4000.0, [HERE], None)
    robot.candidate(last)
    for message in following.sensors():  # a recording of another day comes a moment after the last
        if message.topic not in ("/LIDAR_TOP/points", "/tf", "/tf_static"):
            robot.held.add(following.stamp_ns, replace(message, received_ns=last.stamp_ns + S // 10))
    robot.sees(following, without=tuple(message.topic for message in following.sensors()))
    with pytest.raises(NotComparedError, match="after its cloud") as refusal:
        robot.candidate(last, without=tuple(message.topic for message in (*last.sensors(), *last.answers())))
    assert refusal.value.kind == "teacher_late"


def test_answers_over_a_minute_late_are_of_two_clocks_until_both_sensors_came():
    robot, moment = Robot(), Moment(100.0, [HERE], [HERE], cloud_s=-80.0)
    with pytest.raises(NotComparedError, match="80 s apart, so they are of two clocks") as refusal:
        robot.candidate(moment, without=("/LIDAR_TOP/points",))
    assert refusal.value.kind == "clocks_apart"


def test_motion_that_nobody_knows_is_no_standing_still():
    with pytest.raises(NotComparedError, match="motion between image and cloud is unknown"):
        Robot().candidate(Moment(10.0, cloud_s=0.2), without=("/tf", "/odom"))


def test_a_frames_messages_are_those_of_its_time_and_untouched():
    robot = Robot()
    for seconds in (9.0, 9.5, 11.0):
        robot.sees(Moment(seconds))
    moment = Moment(10.0, [], [HERE])
    gathered = robot.candidate(moment).messages()
    own = {message.cdr for message in (*moment.sensors(), *moment.answers()) if message.topic not in ("/tf", "/odom")}
    assert own <= {message.cdr for message in gathered}
    earlier = {m.cdr for m in Moment(9.5).sensors() if "image" in m.topic or m.topic == "/LIDAR_TOP/points"}
    assert earlier <= {m.cdr for m in gathered}, "for students with memory, and the teacher's sweeps"
    foreign = {m.cdr for at in (9.0, 11.0) for m in Moment(at).sensors() if "image" in m.topic}
    assert not foreign & {m.cdr for m in gathered}
    times = [message.received_ns for message in gathered]
    assert max(times) <= moment.cloud_ns + 10**8, "answers that came later do not stretch the file"
    assert min(times) >= T0 + 9.3 * S
    static = [message for message in gathered if message.topic == "/tf_static"]
    assert [message.received_ns for message in static] == [min(times)] and static[0].latched
