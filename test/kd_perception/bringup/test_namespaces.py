"""Several robots on one machine and network: each in its namespace, with its own cameras, tf, odometry and services."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from support.fake_student import write_fake_student
from support.graph import PaintedRig, Peer

from kd_msgs.msg import Detection3DArray
from kd_perception.bringup import namesakes
from kd_perception.bringup.domains import held_domain
from kd_perception.bringup.graph import Graph, bev_student_graph, replay_evaluate_graph
from kd_perception.bringup.lifecycle_client import DEACTIVATE, LifecycleClient, NamesakeError
from kd_perception.bringup.processes import node_command, running
from kd_perception.errors import ConfigError
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.replay import ReplayOptions

T0 = 1_700_000_000 * 10**9
DETECTOR = DetectorOptions(model=Path("m.onnx"), camera_names=("front left", "0"))


class Robot:
    """The detector in a namespace, its cameras, and what it finds.

    `named`, `below`: what its user calls each camera, and where that publishes.
    """

    def __init__(self, peer: Peer, folder: Path, namespace: str, named: str, below: str) -> None:
        self.rig = PaintedRig(peer, namespace=f"/{namespace}", below=below)
        names = tuple(named.format(name=name) for name in self.rig.names)
        self.found = peer.listen(Detection3DArray, f"/{namespace}/bev_student/output/objects")
        model = write_fake_student(folder / "s.onnx")
        given = {"engine": "onnxruntime", "threads": 1, "reliable_input": True, "sync_deadline_ms": 1000.0}
        detector = DetectorOptions(model=model, camera_names=names, **given)
        self.graph = bev_student_graph(detector, GraphOptions(namespace=namespace))
        self._shots = 0

    def shoot(self, xy: tuple[float, float]) -> None:
        """Publish an object at x, y."""
        self._shots += 1
        self.rig.shoot(T0 + self._shots * 10**8, xy)

    def sees(self) -> list[float]:
        """x of what it has found last."""
        return [found.pose.position.x for found in self.found[-1].detections] if self.found else []


@pytest.mark.ros
def test_two_robots_detect_their_own_and_a_third_of_the_same_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(namesakes, "LEASE_S", 0.5)
    with ExitStack() as stack:
        domain = stack.enter_context(held_domain())
        peer = stack.enter_context(Peer(domain))
        first = Robot(peer, tmp_path, "robot1", "2nd {name}/view-1", "_2nd_{name}/view_1")
        second = Robot(peer, tmp_path, "fleet/robot2", "{name}", "{name}")
        robots = (first, second)
        for robot in robots:
            stack.enter_context(running(robot.graph, domain_id=domain))
        peer.until(lambda: all(robot.rig.connected() for robot in robots))

        def both_see() -> bool:
            for robot, x in zip(robots, (12.0, 20.0), strict=True):
                robot.rig.calibrate()
                robot.shoot((x, 1.0))
            return all(robot.sees() for robot in robots)

        peer.until(both_see)
        assert first.sees() == [pytest.approx(12.0, abs=1.5)] and second.sees() == [pytest.approx(20.0, abs=1.5)]
        with LifecycleClient(["bev_student"], domain, namespace="/robot1") as client:
            client.change("bev_student", DEACTIVATE)
        peer.until(lambda: not any(camera.get_subscription_count() for camera in first.rig.images))
        assert second.rig.connected()
        refusal = "^another node is called /fleet/robot2/bev_student; end it, or use"
        with pytest.raises(NamesakeError, match=refusal):
            with running(second.graph, domain_id=domain) as processes:
                processes.wait(30.0)


def replay_graph(graph: GraphOptions, detector: DetectorOptions = DETECTOR) -> Graph:
    """A bag through the detector."""
    replay = ReplayOptions(bag=Path("bag"), lockstep=True)
    return replay_evaluate_graph(replay, detector, EvaluatorOptions(out=Path("out")), graph)


def test_all_names_of_a_graph_are_relative():
    graph = replay_graph(GraphOptions(namespace="robot1", visualize=True))
    targets = [target for node in graph.nodes for _, target in node.remappings]
    targets += [entry for node in graph.nodes for entry in node.parameters.get("wait_for_subscribers", ())]
    assert {"front_left/image/compressed=2", "_0/camera_info=2", "tf_static=3", "odom"} <= set(targets)
    assert not [target for target in targets if target.startswith("/")]
    assert graph.namespace == "robot1"


@pytest.mark.parametrize("namespace", ["robot1", "/robot1"])
def test_a_namespace_may_be_given_with_its_slash(namespace, tmp_path):
    node = replay_graph(GraphOptions()).nodes[0]
    assert "__ns:=/robot1" in node_command(node, tmp_path, namespace)
    assert not [word for word in node_command(node, tmp_path) if "__ns" in word]


def test_inputs_may_be_elsewhere():
    given = GraphOptions(
        visualize=True, rviz=True, odometry_topic="odometry/filtered", points_topic="/velodyne", tf_topic="/tf"
    )
    graph = replay_graph(given)
    remapped = {node.name: dict(node.remappings) for node in graph.nodes}
    assert remapped["bev_student"]["~/input/odometry"] == "odometry/filtered"
    assert remapped["visualizer"]["~/input/points"] == dict(graph.rviz.remappings)["/LIDAR_TOP/points"] == "/velodyne"
    assert all((of["tf"], of["tf_static"]) == ("/tf", "/tf_static") for of in remapped.values())


def test_rviz_shows_the_topics_of_its_robot():
    assert replay_graph(GraphOptions(rviz=True)).rviz.remappings == ()
    remapped = dict(replay_graph(GraphOptions(rviz=True, namespace="robot1")).rviz.remappings)
    assert remapped["/bev_student/output/markers"] == "bev_student/output/markers" and remapped["/tf"] == "tf"


@pytest.mark.parametrize(
    "names, sentence",
    [
        ((), "no camera is named"),
        (("a", "a"), "camera 'a' is named 2 times"),
        (("a b", "a-b"), "both have the topic a_b/image"),
        (("a", "-"), "'-' cannot name"),
    ],
)
def test_names_that_make_no_rig_are_refused_before_anything_starts(names, sentence):
    with pytest.raises(ConfigError, match=sentence):
        DetectorOptions(camera_names=names)


def test_a_rig_may_have_many_cameras():
    names = tuple(f"cam{i}" for i in range(13))
    assert len(replay_graph(GraphOptions(), DetectorOptions(camera_names=names)).nodes) == 3


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"namespace": "robot-1"}, "namespace is 'robot-1'"),
        ({"odometry_topic": "1/odom"}, "odometry_topic is '1/odom'"),
        ({"tf_topic": ""}, "tf_topic is empty"),
    ],
)
def test_names_that_ros_does_not_take_are_refused_before_anything_starts(given, sentence):
    with pytest.raises(ConfigError, match=sentence):
        GraphOptions(**given)
