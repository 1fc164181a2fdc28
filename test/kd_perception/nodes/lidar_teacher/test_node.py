"""The teacher as a process: what it publishes and reports of live clouds, of a pace, of silence and of bad input."""

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import PointCloud2
from support.fake_student import HEIGHT
from support.fake_teacher import bright_cluster, write_fake_teacher
from support.graph import Peer
from support.point_messages import MOUNTING, in_lidar, message
from tf2_msgs.msg import TFMessage

from kd_msgs.msg import Detection3DArray, FrameStatus
from kd_perception.bringup.domains import held_domain
from kd_perception.bringup.graph import Graph, lidar_teacher_node
from kd_perception.bringup.processes import running
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.teacher import TeacherOptions
from kd_perception.ros.live import LIVE
from kd_perception.ros.qos import SENSOR_RELIABLE, TF, TF_STATIC
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.teacher.spec import open_teacher

pytestmark = pytest.mark.ros
S = 1_000_000_000
T0 = 1_700_000_000 * S


class World:
    """What a robot publishes around the teacher, and what the teacher has said."""

    def __init__(self, peer: Peer) -> None:
        self.peer, make = peer, peer.node.create_publisher
        self.clouds = make(PointCloud2, "/LIDAR_TOP/points", SENSOR_RELIABLE)
        self.tf, self.static = make(TFMessage, "/tf", TF), make(TFMessage, "/tf_static", TF_STATIC)
        self.objects = peer.listen(Detection3DArray, "/lidar_teacher/output/objects")
        self.statuses = peer.listen(FrameStatus, "/lidar_teacher/output/status")
        self.diagnostics = peer.listen(DiagnosticArray, "/diagnostics")

    def drive(self, stamp_ns: int, x: float) -> None:
        pose = np.eye(4)
        pose[0, 3] = x
        self.tf.publish(TFMessage(transforms=[LIVE.transform("odom", "base_link", stamp_ns, pose)]))

    def scan(self, stamp_ns: int, in_base: np.ndarray) -> None:
        self.clouds.publish(message(in_lidar(in_base), stamp_ns))

    def pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        self.peer.until(lambda: time.monotonic() > until_s)

    def status(self, stamp_ns: int) -> FrameStatus:
        found = lambda: next((s for s in self.statuses if to_nanoseconds(s.header.stamp) == stamp_ns), None)  # noqa: E731
        return self.peer.until(found)

    def reported(self, text: str) -> None:
        self.peer.until(lambda: any(text in d.status[0].message for d in self.diagnostics))


def test_a_live_teacher(tmp_path):
    file = write_fake_teacher(tmp_path / "teacher.onnx")
    options = TeacherOptions(model=file, engine="onnxruntime", threads=1, reliable_input=True, rate_hz=1.0, niceness=0)
    graph = Graph((lidar_teacher_node(options, DetectorOptions(), GraphOptions()),))
    with held_domain() as domain, Peer(domain) as peer:
        world = World(peer)
        with running(graph, domain_id=domain) as processes:
            publishers = (world.clouds, world.tf, world.static)
            peer.until(lambda: world.diagnostics and all(p.get_subscription_count() for p in publishers))
            peer.until(lambda: peer.node.count_publishers("/lidar_teacher/output/status"))
            world.static.publish(TFMessage(transforms=[LIVE.transform("base_link", "lidar", 0, MOUNTING)]))
            _sweeps_of_a_driving_robot(world)
            _bad_input(world)
            world.reported("s on /LIDAR_TOP/points: its driver is silent")
            assert processes.nodes[0].exit_code is None, "the node must survive all this"
        assert {s.model for s in world.statuses} == {open_teacher(file).model_id}


def _sweeps_of_a_driving_robot(world: World) -> None:
    """Two clouds in quick succession: the second is only kept, and joins the third as a sweep."""
    cluster, dark = bright_cluster((12.5, 3.5)), bright_cluster((12.5, 3.5), 0.3)
    world.drive(T0, 0.0)
    world.scan(T0, dark)
    first = world.status(T0)
    assert first.outcome == FrameStatus.ANSWERED and first.camera_names == ["/LIDAR_TOP/points"], first.reason
    ahead = cluster.copy()
    ahead[:, 0] += 1.0
    world.drive(T0 + S // 10, 4.0)
    world.scan(T0 + S // 10, ahead)  # 1 s has not passed: only a sweep
    world.drive(T0 + S // 5, 5.0)
    world.pause(1.1)
    world.scan(T0 + S // 5, dark)
    status = world.status(T0 + S // 5)
    assert status.outcome == FrameStatus.ANSWERED and status.engine == "onnxruntime"
    assert [to_nanoseconds(s.header.stamp) for s in world.statuses] == [T0, T0 + S // 5]
    (found,) = world.peer.until(lambda: [m for m in world.objects if to_nanoseconds(m.header.stamp) == T0 + S // 5])
    (box,) = found.detections
    position = box.pose.position
    np.testing.assert_allclose([position.x, position.y, position.z], [12.5, 3.5, HEIGHT], atol=1e-3)
    assert found.header.frame_id == "base_link"


def _bad_input(world: World) -> None:
    """A cloud without points, clouds that come late, and time that goes back; a good one is answered after each."""
    stamp_ns = T0 + 2 * S
    world.scan(T0 + S // 10, bright_cluster((12.5, 3.5)))
    world.reported("come late: a stamp is 0.100 s before the newest")
    world.pause(1.1)
    world.scan(stamp_ns, np.zeros((0, 4), np.float32))
    status = world.status(stamp_ns)
    assert status.outcome == FrameStatus.BLIND and "no point lies within" in status.reason
    assert not [m for m in world.objects if to_nanoseconds(m.header.stamp) == stamp_ns]
    world.scan(T0 - 100 * S, bright_cluster((12.5, 3.5)))
    world.reported("time jumped back by 102.000 s")
