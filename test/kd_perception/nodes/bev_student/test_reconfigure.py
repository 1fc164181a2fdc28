"""Lens, rig, engine and model change by lifecycle transitions while the process stays; and what overload brings."""

import gc
import itertools
import threading
from dataclasses import replace

import pytest
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from support.detector import Bench, S, bench
from support.fake_student import SPEC, TEMPORAL_SPEC, write_fake_student

from kd_bench.soak.process_watch import Usage, usage
from kd_msgs.msg import FrameStatus
from kd_perception.bringup.lifecycle_client import (
    ACTIVATE,
    CLEANUP,
    CONFIGURE,
    DEACTIVATE,
    LifecycleClient,
    TransitionError,
)
from kd_perception.ros.stamps import to_nanoseconds

pytestmark = pytest.mark.ros
ROUNDS = 12
GROWTH_MB = 12.0  # after the first rounds: pools of the allocator settle, a model that stays would be seen


class Operator:
    """Who changes a running detector's configuration."""

    def __init__(self, b: Bench, lifecycle: LifecycleClient) -> None:
        self._b, self._lifecycle = b, lifecycle
        self._set = b.peer.node.create_client(SetParameters, "/bev_student/set_parameters")
        b.peer.until(self._set.service_is_ready)

    def configure(self, **parameters) -> None:
        """Down, new parameters, up again."""
        for transition in (DEACTIVATE, CLEANUP):
            self._lifecycle.change("bev_student", transition)
        self.set(**parameters)
        self.start()

    def start(self) -> None:
        """Configure and activate, and be connected again."""
        for transition in (CONFIGURE, ACTIVATE):
            self._lifecycle.change("bev_student", transition)
        b = self._b
        b.peer.until(lambda: b.peer.node.count_publishers("/bev_student/output/status") == 1)
        for topics in (b.rig.images, b.rig.infos):
            b.peer.until(lambda topics=topics: sum(topic.get_subscription_count() for topic in topics) == self.cameras)
        b.rig.calibrate()

    def set(self, **parameters) -> None:
        """Set parameters of a node that takes them."""
        self.cameras = len(parameters.get("camera_names", self._b.rig.names))
        assert not self.refused(**parameters)

    def refused(self, **parameters) -> str:
        """Set parameters; '' or why one is refused."""
        wire = [Parameter(name, value=value).to_parameter_msg() for name, value in parameters.items()]
        answer = self._set.call_async(SetParameters.Request(parameters=wire))
        self._b.peer.until(answer.done)
        return "; ".join(result.reason for result in answer.result().results if not result.successful)


def subscriptions(b: Bench) -> int:
    """How many topics the detector listens to, as the graph sees it."""
    return len(b.peer.node.get_subscriber_names_and_types_by_node("bev_student", "/"))


def test_model_engine_and_rig_change_many_times_without_a_leak(tmp_path):
    other = write_fake_student(tmp_path / "other.onnx", replace(SPEC, name="other"))
    remembering = write_fake_student(tmp_path / "remembering.onnx", TEMPORAL_SPEC)
    with bench(tmp_path) as b, LifecycleClient(["bev_student"], b.domain) as lifecycle:
        operator = Operator(b, lifecycle)
        names = b.rig.names
        rounds = itertools.cycle(
            [
                {"model": str(other), "engine": "onnxruntime", "camera_names": names},
                {"model": str(remembering), "engine": "openvino", "camera_names": names},
                {"model": str(tmp_path / "s.onnx"), "engine": "openvino", "camera_names": names[:2]},
            ]
        )
        pid = b.processes.nodes[0].process.pid
        seen: list[tuple[Usage, int]] = []
        for index in range(ROUNDS):
            parameters = next(rounds)
            operator.configure(**parameters)
            status = b.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED and not status.missing_cameras)
            assert len(status.camera_names) == len(parameters["camera_names"])
            name = {str(other): "other", str(remembering): "remembers"}.get(parameters["model"], "painted")
            assert status.model.startswith(f"{name}@")
            assert (status.memory_state == FrameStatus.MEMORY_NONE) == (name != "remembers")
            if index % 3 == 2:
                seen.append((usage(pid), subscriptions(b)))
        (early, topics), (late, topics_late) = seen[1], seen[-1]
        assert topics_late == topics
        assert late.threads - early.threads < ROUNDS // 2, "a thread stays behind in each of these rounds"
        assert late.memory_mb - early.memory_mb < GROWTH_MB, [entry.memory_mb for entry, _ in seen]


def test_a_refused_configuration_leaves_the_node_ready_for_another(tmp_path):
    with bench(tmp_path) as b, LifecycleClient(["bev_student"], b.domain) as lifecycle:
        operator = Operator(b, lifecycle)
        with pytest.raises(TransitionError, match="could not be configured"):
            operator.configure(model=str(tmp_path / "absent.onnx"))
        operator.set(model=str(tmp_path / "s.onnx"), engine="no_such_engine")
        with pytest.raises(TransitionError, match="could not be configured"):
            operator.start()
        operator.set(engine="onnxruntime")
        operator.start()
        b.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED and not status.missing_cameras)


def test_parameters_of_an_active_detector_are_followed_or_refused_and_new_cameras_bring_their_topics(tmp_path):
    with bench(tmp_path) as b, LifecycleClient(["bev_student"], b.domain) as lifecycle:
        operator = Operator(b, lifecycle)
        assert "takes effect after configure" in operator.refused(sync_tolerance_ms=10.0)
        assert "must be compressed or raw" in operator.refused(transport="film")
        for threshold, found in ((1.0, 0), (0.1, 1)):
            operator.set(score_threshold=threshold)
            stamp = to_nanoseconds(b.shoot_until(lambda status: not status.missing_cameras).header.stamp)
            assert len(b.found(stamp).detections) == found
        names = [b.rig.names[2], b.rig.names[0]]  # cameras of the same rig in another order, without one
        operator.configure(camera_names=names)
        b.peer.until(lambda: b.rig.images[2].get_subscription_count() and not b.rig.images[1].get_subscription_count())
        b.rig.calibrate()
        status = b.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED and not status.missing_cameras)
        assert list(status.camera_names) == names
        (car,) = b.found(to_nanoseconds(status.header.stamp)).detections
        assert abs(car.pose.position.x - 12.0) < 1.5 and abs(car.pose.position.y - 1.0) < 1.5


def test_an_overloaded_detector_drops_the_oldest_frames_keeps_the_order_and_says_so(tmp_path):
    """A grid so large that a frame takes long, and images that come as fast as they can be sent."""
    grid = replace(SPEC.grid, cell_size=0.1)
    with bench(tmp_path, spec=replace(SPEC, name="slow", grid=grid)) as b:
        b.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED)
        count = len(b.statuses)
        anchor = f"lost_{b.rig.names[0]}"  # a burst may overrun the subscription's queue: that is counted, too
        lost_before = b.counter(anchor)
        start_ns = to_nanoseconds(b.statuses[-1].header.stamp) + S
        stamps = [start_ns + index * S // 100 for index in range(60)]
        for stamp_ns in stamps:
            b.rig.shoot(stamp_ns)
        b.status(stamps[-1])
        b.peer.until(lambda: len(b.statuses) - count + b.last_counter(anchor) - lost_before >= len(stamps))
        outcomes = {to_nanoseconds(status.header.stamp): status for status in b.statuses[count:]}
        dropped = [status for status in outcomes.values() if status.outcome == FrameStatus.DROPPED]
        answered = [to_nanoseconds(s.header.stamp) for s in b.statuses[count:] if s.outcome == FrameStatus.ANSWERED]
        assert len(dropped) + len(answered) == len(outcomes) and dropped
        assert answered == sorted(answered) and answered[-1] == stamps[-1]  # in order, and the newest is answered
        assert all("a newer frame came" in status.reason for status in dropped)
        b.counted("frames_overtaken", len(dropped))
        b.reported("more frames come than can be processed")


def test_no_thread_of_the_pipeline_outlives_it(tmp_path):
    from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
    from kd_perception.student.spec import load_student

    student = load_student(write_fake_student(tmp_path / "s.onnx"))
    before = threading.active_count()
    for _ in range(5):
        Pipeline(student, "onnxruntime", 2, PipelineOptions(threads=1)).close()
    gc.collect()
    assert threading.active_count() == before
