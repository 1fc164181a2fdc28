"""Transforms from /tf and /tf_static, by our own buffer and by tf2_ros: the same cases for both."""

import gc
import sys

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.clock import JumpHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from support.graph import Peer
from tf2_msgs.msg import TFMessage

from kd_perception.geometry.transforms import invert, make_transform, quaternion_from_yaw, yaw_of
from kd_perception.ros.frame_tree import TransformError
from kd_perception.ros.live import LIVE
from kd_perception.ros.qos import TF, TF_STATIC
from kd_perception.ros.tf import OwnTransforms, Tf2Transforms, TransformSource, open_transforms

S = 1_000_000_000
T0 = 1_700_000_000 * S
HISTORY_S = 10.0


def pose(x: float, y: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    return make_transform(quaternion_from_yaw(yaw), [x, y, 0.0])


class Listening:
    """A source on a node, messages for it without the middleware, and the problems it has reported."""

    def __init__(self, source: TransformSource, node: Node, problems: list[str]) -> None:
        self.source, self.node, self.problems = source, node, problems

    def receive(self, parent: str, child: str, stamp_ns: int, matrix: np.ndarray, *, static: bool = False) -> None:
        """One transform arrives."""
        self.receive_entry(LIVE.transform(parent, child, stamp_ns, matrix), static=static)

    def receive_entry(self, entry: TransformStamped, *, static: bool = False) -> None:
        """One message entry arrives."""
        subscription(self.node, "/tf_static" if static else "/tf").callback(TFMessage(transforms=[entry]))

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        return self.source.lookup(target, source, stamp_ns)


def subscription(node: Node, topic: str):
    (found,) = [entry for entry in node.subscriptions if entry.topic_name == topic]
    return found


@pytest.fixture(params=["own", "tf2"])
def kind(request) -> str:
    if request.param == "tf2":
        request.getfixturevalue("tf2_ros")
    return request.param


@pytest.fixture
def empty(kind, node) -> Listening:
    problems: list[str] = []
    make = {"own": OwnTransforms, "tf2": Tf2Transforms}[kind]
    return Listening(make(node, problems.append, HISTORY_S), node, problems)


@pytest.fixture
def tf(empty) -> Listening:
    """map -> odom (static) -> base_link (10 m/s, from T0 on) -> camera (static)."""
    empty.receive("map", "odom", 0, pose(100.0, 50.0, 0.5), static=True)
    for second in range(4):
        empty.receive("odom", "base_link", T0 + second * S, pose(10.0 * second, yaw=0.1 * second))
    empty.receive("base_link", "camera", 0, pose(1.5, 0.2, -1.0), static=True)
    return empty


def test_a_chain_and_its_inverse(tf):
    expected = pose(100.0, 50.0, 0.5) @ pose(20.0, yaw=0.2) @ pose(1.5, 0.2, -1.0)
    assert np.allclose(tf.lookup("map", "camera", T0 + 2 * S), expected, atol=1e-9)
    assert np.allclose(tf.lookup("camera", "map", T0 + 2 * S), invert(expected), atol=1e-9)
    assert np.allclose(tf.lookup("odom", "odom", T0 + 2 * S), np.eye(4))


def test_interpolates_between_stamps(tf):
    halfway = tf.lookup("odom", "base_link", T0 + 3 * S // 2)
    assert np.allclose(halfway[:3, 3], [15.0, 0.0, 0.0]) and yaw_of(halfway) == pytest.approx(0.15)


def test_siblings_meet_at_their_parent_also_at_a_time_the_parent_is_not_known_at(tf):
    tf.receive("base_link", "lidar", 0, pose(0.0, 1.0), static=True)
    expected = invert(pose(0.0, 1.0)) @ pose(1.5, 0.2, -1.0)
    for stamp_ns in (T0 + S, T0 + 100 * S):
        assert np.allclose(tf.lookup("lidar", "camera", stamp_ns), expected, atol=1e-9)


@pytest.mark.parametrize("stamp_ns", [0, 1, T0, 2_000_000_000 * S])
def test_static_edges_hold_at_any_time(tf, stamp_ns):
    assert np.allclose(tf.lookup("base_link", "camera", stamp_ns), pose(1.5, 0.2, -1.0))


def test_a_new_static_transform_replaces_the_old(tf):
    tf.receive("base_link", "camera", 1, pose(2.0), static=True)
    assert np.allclose(tf.lookup("base_link", "camera", T0), pose(2.0))


@pytest.mark.parametrize("offset_s, side", [(-1, "before the oldest|into the past"), (5, "after the newest")])
def test_a_time_outside_what_is_known_is_refused_and_the_frame_named(tf, offset_s, side):
    with pytest.raises(
        TransformError, match=f"is not known at .*({side}).*; check that it is published in time"
    ) as refusal:
        tf.lookup("map", "camera", T0 + offset_s * S)
    assert "base_link" in str(refusal.value) or "camera" in str(refusal.value)  # the edge, or the asked-for frame


@pytest.mark.parametrize("stamp_ns", [0, -5 * S])
def test_a_stamp_that_was_never_set_is_a_time_like_others_not_the_newest(tf, stamp_ns):
    with pytest.raises(TransformError, match="base_link|camera"):
        tf.lookup("map", "camera", stamp_ns)


def test_unknown_and_unconnected_frames_are_named(tf):
    with pytest.raises(TransformError, match="frame 'radar' is unknown to tf; publish it"):
        tf.lookup("map", "radar", T0)
    tf.receive("island", "tree", 0, pose(0.0), static=True)
    with pytest.raises(TransformError, match="no connection between 'map' and 'tree'.* publish the link"):
        tf.lookup("map", "tree", T0)


def test_a_frame_without_a_name_is_refused(tf):
    tf.receive("", "camera", 0, pose(0.0), static=True)
    tf.receive("base_link", "/", T0, pose(0.0))
    assert len(tf.problems) == 2 and all("has no name" in problem for problem in tf.problems)


def test_a_frame_that_hangs_on_itself_is_refused_and_reported(tf):
    before = tf.lookup("map", "camera", T0 + S)
    tf.receive("base_link", "base_link", 0, pose(1.0), static=True)
    assert np.array_equal(tf.lookup("map", "camera", T0 + S), before)
    (problem,) = tf.problems
    assert "tf base_link -> base_link was refused" in problem and "cycle" in problem


def test_a_loop_of_frames_is_refused_reported_and_leaves_the_tree_as_it_was(tf):
    before = tf.lookup("map", "camera", T0 + S)
    tf.receive("camera", "map", 0, pose(0.0), static=True)
    tf.receive("camera", "odom", T0 + S, pose(0.0))
    assert np.array_equal(tf.lookup("map", "camera", T0 + S), before)
    for child, problem in zip(("map", "odom"), tf.problems, strict=True):
        assert f"tf camera -> {child} was refused" in problem and f"camera already hangs below {child}" in problem
    tf.receive("map", "base_link", T0 + S, pose(3.0))  # what moves away makes room
    tf.receive("camera", "odom", T0 + S, pose(0.0))
    assert len(tf.problems) == 2 and np.allclose(tf.lookup("base_link", "odom", T0 + S), pose(1.5, 0.2, -1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_and_reported(tf, value):
    tf.receive("odom", "base_link", T0 + 4 * S, pose(value))
    assert len(tf.problems) == 1 and "tf odom -> base_link was refused" in tf.problems[0]
    with pytest.raises(TransformError):
        tf.lookup("odom", "base_link", T0 + 4 * S)


@pytest.mark.parametrize(("w", "reason"), [(0.0, "no rotation"), (1.2, "length 1.2 instead of 1"), (np.nan, "finite")])
def test_a_quaternion_that_is_no_rotation_is_refused_and_reported(tf, w, reason):
    entry = LIVE.transform("base_link", "camera", 0, pose(1.0))
    entry.transform.rotation.w = w
    tf.receive_entry(entry, static=True)
    (problem,) = tf.problems
    assert "tf base_link -> camera was refused" in problem and reason in problem
    assert np.allclose(tf.lookup("base_link", "camera", T0), pose(1.5, 0.2, -1.0))


def test_a_leading_slash_of_older_publishers_is_left_out(tf):
    tf.receive("/base_link", "/lidar", 0, pose(3.0), static=True)
    assert np.allclose(tf.lookup("base_link", "lidar", T0), pose(3.0))


def test_a_frame_can_move_to_another_parent_and_become_dynamic(tf):
    tf.receive("camera", "sticker", 0, pose(1.0), static=True)
    tf.receive("map", "sticker", T0 + 2 * S, pose(7.0))
    assert np.allclose(tf.lookup("map", "sticker", T0 + 2 * S), pose(7.0))
    with pytest.raises(TransformError, match="sticker"):
        tf.lookup("map", "sticker", T0)
    tf.receive("odom", "sticker", T0 + 3 * S, pose(8.0))
    assert np.allclose(tf.lookup("odom", "sticker", T0 + 3 * S), pose(8.0))
    with pytest.raises(TransformError, match="sticker"):
        tf.lookup("odom", "sticker", T0 + 2 * S)  # where it was with its old parent is over


def test_what_is_older_than_the_history_is_forgotten(empty):
    for step in range(0, 25, 2):
        empty.receive("odom", "base_link", T0 + step * S, pose(step))
    newest = T0 + 24 * S
    assert np.allclose(empty.lookup("odom", "base_link", newest - int(HISTORY_S) * S), pose(14.0))
    with pytest.raises(TransformError):
        empty.lookup("odom", "base_link", newest - int(HISTORY_S + 3) * S)  # tf2 keeps one that is older


def test_stamps_may_come_out_of_order(tf):
    tf.receive("odom", "base_link", T0 + 3 * S // 2, pose(99.0))
    assert np.allclose(tf.lookup("odom", "base_link", T0 + 3 * S // 2), pose(99.0))


def test_the_last_of_several_with_one_stamp_counts(tf):
    tf.receive("odom", "base_link", T0 + 3 * S, pose(99.0))
    assert np.allclose(tf.lookup("odom", "base_link", T0 + 3 * S), pose(99.0))


def test_a_new_round_of_a_bag_counts_once_the_old_one_is_forgotten(tf):
    """A bag that loops: the old round must not hide the new one."""
    tf.receive("odom", "base_link", T0 + 100 * S, pose(5.0))
    tf.source.forget_after(T0)
    for second in range(2):
        tf.receive("odom", "base_link", T0 + second * S, pose(6.0))
    assert np.allclose(tf.lookup("odom", "base_link", T0 + S // 2), pose(6.0))
    assert np.allclose(tf.lookup("base_link", "camera", T0), pose(1.5, 0.2, -1.0))  # static edges stay


def test_a_new_round_from_before_the_history_counts_at_once(empty):
    """A longer bag that loops, where nobody told of it."""
    for second in range(0, 40, 2):
        empty.receive("odom", "base_link", T0 + second * S, pose(1.0))
    for second in range(2):
        empty.receive("odom", "base_link", T0 + second * S, pose(6.0))
    assert np.allclose(empty.lookup("odom", "base_link", T0 + S // 2), pose(6.0))
    with pytest.raises(TransformError):
        empty.lookup("odom", "base_link", T0 + 30 * S)  # of the old round
    empty.receive("odom", "base_link", T0 + 2 * S, pose(7.0))
    assert np.allclose(empty.lookup("odom", "base_link", T0 + 2 * S), pose(7.0))


def test_later_times_are_forgotten(tf):
    tf.source.forget_after(T0 + 2 * S)
    with pytest.raises(TransformError):
        tf.lookup("odom", "base_link", T0 + 3 * S)


def test_transforms_come_over_the_wire_latched_ones_also_late(kind, node):
    make = {"own": OwnTransforms, "tf2": Tf2Transforms}[kind]
    domain = node.context.get_domain_id()
    with Peer(domain) as peer, Peer(domain, "spinner") as spinner:
        latched = peer.node.create_publisher(TFMessage, "/tf_static", TF_STATIC)
        latched.publish(TFMessage(transforms=[LIVE.transform("base_link", "camera", 0, pose(2.0))]))
        problems: list[str] = []
        source = make(spinner.node, problems.append, HISTORY_S)
        moving = peer.node.create_publisher(TFMessage, "/tf", TF)
        spinner.until(moving.get_subscription_count)
        moving.publish(TFMessage(transforms=[LIVE.transform("odom", "base_link", T0, pose(1.0))]))

        def arrived() -> bool:
            try:
                return np.allclose(source.lookup("odom", "camera", T0), pose(3.0))
            except TransformError:
                return False

        spinner.until(arrived)
        source.close()
        assert not problems


def test_listens_as_tf2_does_and_leaves_nothing_behind(kind, node):
    gc.collect()
    handles = sum(isinstance(kept, JumpHandle) for kept in gc.get_objects())
    before = [entry.topic_name for entry in node.subscriptions], len(list(node.services))
    source = {"own": OwnTransforms, "tf2": Tf2Transforms}[kind](node, lambda problem: None, HISTORY_S)
    dynamic, static = subscription(node, "/tf").qos_profile, subscription(node, "/tf_static").qos_profile
    assert dynamic.reliability == static.reliability == ReliabilityPolicy.RELIABLE
    assert static.durability == DurabilityPolicy.TRANSIENT_LOCAL != dynamic.durability
    assert dynamic.depth >= 100 and static.depth >= 100
    source.close()
    assert ([entry.topic_name for entry in node.subscriptions], len(list(node.services))) == before
    del source
    gc.collect()
    assert sum(isinstance(kept, JumpHandle) for kept in gc.get_objects()) == handles


def test_tf2_ros_is_used_where_it_is_installed(node, tf2_ros):
    assert isinstance(open_transforms(node, print), Tf2Transforms)


def test_our_own_buffer_is_used_where_it_is_not(node, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2_ros", None)
    assert isinstance(open_transforms(node, print), OwnTransforms)
