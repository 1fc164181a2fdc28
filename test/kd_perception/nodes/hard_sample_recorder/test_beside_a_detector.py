"""The recorder next to a real detector: what is missed is kept, becomes keyframes, and a kill harms nobody."""

import time
from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import PointCloud2
from support.domains import free_domain
from support.fake_student import HEIGHT, SIZE, YAW, write_fake_student
from support.graph import PaintedRig, Peer
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import Detection3DArray, FrameStatus
from kd_perception.bags import messages
from kd_perception.bags.messages import typestore
from kd_perception.bags.reader import BagReader
from kd_perception.bringup.graph import bev_student_graph
from kd_perception.bringup.processes import running
from kd_perception.continual.recording import read_recording
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import BAG_VERSION
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES
from kd_perception.imports.bag import BagImport, import_bag
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.teacher import TeacherOptions
from kd_perception.resources import resource
from kd_perception.ros.detections import to_detection_array
from kd_perception.ros.live import LIVE

pytestmark = pytest.mark.ros

S = 1_000_000_000
T0 = 1_700_000_000 * S
SEEN = (12.0, 1.0)  # where the student finds its car


def teachers(*rows: tuple) -> Boxes:
    """Boxes of (class name, x, y), as the student finds them."""
    count = len(rows)
    return Boxes(
        np.array([[x, y, HEIGHT] for _, x, y in rows]),
        np.tile(SIZE, (count, 1)),
        np.full(count, YAW),
        np.zeros((count, 2)),
        np.array([NUSCENES.label(name) for name, *_ in rows]),
        np.full(count, 0.9),
    )


class Street:
    """A rig, its LiDAR and a teacher that answers at once; a moment has all of them."""

    def __init__(self, peer: Peer) -> None:
        self.peer, self.rig = peer, PaintedRig(peer)
        make = peer.node.create_publisher
        self.tf = make(TFMessage, "/tf", 100)
        self.cloud = make(PointCloud2, "/LIDAR_TOP/points", 10)
        self.teacher = make(Detection3DArray, "/lidar_teacher/output/objects", 10)
        self.statuses = peer.listen(FrameStatus, "/bev_student/output/status")
        self.diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
        turns = np.linspace(0.0, 2.0 * np.pi, 400)
        self.points = np.column_stack([9.0 * np.cos(turns), 9.0 * np.sin(turns), *np.zeros((3, 400))])

    def connected(self) -> bool:
        listened = all(each.get_subscription_count() for each in (self.cloud, self.teacher))
        return self.rig.connected() and listened and self.tf.get_subscription_count() >= 3

    def happens(self, seconds: float, *rows: tuple) -> None:
        """The student answers a moment, and then the teacher."""
        stamp_ns = T0 + round(seconds * S)
        self.rig.calibrate()
        for step in range(-3, 4):
            drive = np.eye(4)
            drive[0, 3] = 20.0 * (seconds + step / 20)
            self.tf.publish(
                TFMessage(transforms=[LIVE.transform("odom", "base_link", stamp_ns + step * S // 20, drive)])
            )
        cloud = messages.point_cloud(stamp_ns, "LIDAR_TOP", self.points)
        self.cloud.publish(bytes(typestore().serialize_cdr(cloud, cloud.__msgtype__)))
        self.rig.tf.publish(TFMessage(transforms=[LIVE.transform("base_link", "LIDAR_TOP", 0, np.eye(4))]))
        count = len(self.statuses)
        self.rig.shoot(stamp_ns, SEEN)

        def told() -> bool:
            self.rig.calibrate()  # again and again, as drivers do: CameraInfo is best effort, one may be lost
            return len(self.statuses) > count

        self.peer.until(told)
        assert self.statuses[-1].outcome == FrameStatus.ANSWERED
        self.teacher.publish(to_detection_array(teachers(*rows), stamp_ns, "base_link", "teacher"))

    def agree(self) -> None:
        """Moments in which both sides find the car, until one is compared: the recorder may know a publisher later than
        that one knows it, and what is sent meanwhile is lost."""
        moments, due_s = iter(range(1, 10)), 0.0

        def agreed() -> bool:
            nonlocal due_s
            if time.monotonic() > due_s:
                self.happens(next(moments), ("car", *SEEN))
                due_s = time.monotonic() + 5.0
            return self.counter("frames_agreed") >= 1

        self.peer.until(agreed)

    def counter(self, name: str) -> int:
        mine = [report.status[0] for report in self.diagnostics if report.status[0].name.startswith("hard_sample")]
        return int({entry.key: entry.value for entry in mine[-1].values}.get(name, "0")) if mine else 0

    def counted(self, name: str, count: int) -> None:
        self.peer.until(lambda: self.counter(name) >= count, 30.0)


def test_what_the_student_misses_becomes_a_keyframe_and_a_kill_harms_nobody(tmp_path):
    model = write_fake_student(tmp_path / "s.onnx")
    folder, domain, said = tmp_path / "kept", free_domain(), []
    with Peer(domain) as peer:
        street = Street(peer)
        detector = DetectorOptions(
            model=model, engine="onnxruntime", camera_names=tuple(street.rig.names), threads=1, reliable_input=True,
            sync_deadline_ms=1000.0,
        )  # fmt: skip
        recorder = RecorderOptions(
            folder=folder, budget_mb=50, teacher_classes=resource("config/classes/nuscenes.yaml")
        )
        graph = bev_student_graph(
            detector, GraphOptions(continual=True), TeacherOptions(model=tmp_path / "t.onnx"), recorder
        )
        graph = replace(graph, nodes=graph.nodes[:2])  # this test is the teacher
        with running(graph, domain_id=domain, echo=said.append) as processes:
            peer.until(street.connected)
            street.agree()
            street.happens(12.0, ("car", *SEEN), ("pedestrian", 9.0, 0.5))
            street.counted("frames_kept", 1)
            street.happens(14.0, ("bus", *SEEN))
            street.counted("frames_kept", 2)
            processes.nodes[1].process.kill()
            peer.until(lambda: processes.nodes[1].exit_code is not None)
            assert not processes.finished() and "go on without it" in said[-1]
            street.happens(16.0, ("car", *SEEN))
    frames = read_recording(folder).frames
    assert [(frame.stamp_ns - T0) // S for frame in frames] == [12, 14]
    assert frames[0].verdicts["missed"] == 1 and frames[0].classes == {"car": 1, "pedestrian": 1}
    assert frames[1].verdicts["wrong_class"] == 1 and "a bus (0.90) is taken for a car" in frames[1].why
    reader = BagReader(folder)
    topics = {topic.name: topic.count for topic in reader.topics}
    reader.close()
    assert topics["/bev_student/output/objects"] == topics["/lidar_teacher/output/objects"] == 2
    assert topics["/LIDAR_TOP/points"] == 2 and topics["/camera0/image/compressed"] == 2 and topics["/tf"] >= 8
    written = import_bag(BagImport(folder, tmp_path / "set"))
    [dark] = written.problems
    assert written.keyframes == 2 and "intensities up to 0" in dark  # the clouds of the test
    assert len(scene_names(open_nuscenes(tmp_path / "set", BAG_VERSION))) == 2
