"""The governor in the node: frames and student are given up while the engine is slow on purpose, and taken back."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from support.detector import T0, S, values
from support.domains import free_domain
from support.fake_student import SPEC, write_fake_student
from support.graph import PaintedRig, Peer

from kd_msgs.msg import FrameStatus
from kd_perception.engines import onnxruntime
from kd_perception.nodes.bev_student.governing import Governing
from kd_perception.nodes.bev_student.node import BevStudent
from kd_perception.ros.qos import EVERY_RESULT
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.runtime import governor
from kd_perception.runtime.frame import FrameRecord, Outcome

pytestmark = pytest.mark.ros
DEADLINE_MS = 500.0
PERIOD_NS = S // 20


class SlowEngine(onnxruntime.OnnxRuntimeEngine):
    """Takes so many seconds longer for students of these names."""

    delays_s: dict[str, float] = {}

    def __init__(self, model, cameras, options):
        super().__init__(model, cameras, options)
        self._student = model.spec.name

    def run(self, inputs):
        time.sleep(self.delays_s.get(self._student, 0.0))
        return super().run(inputs)


class Governed:
    """A detector in this process, frames that are shot at it, and what it says."""

    def __init__(self, node: BevStudent, peer: Peer) -> None:
        self.node, self.peer = node, peer
        self.rig = PaintedRig(peer)
        self.statuses = peer.listen(FrameStatus, "/bev_student/output/status", EVERY_RESULT)
        self.diagnostics = peer.listen(DiagnosticArray, "/diagnostics")
        self.shot_ns: list[int] = []

    def configured(self, **parameters) -> TransitionCallbackReturn:
        """Configure it for the rig with these parameters."""
        given = {"camera_names": self.rig.names, "engine": "onnxruntime", "threads": 1, "reliable_input": True}
        for name, value in (given | parameters).items():
            (result,) = self.node.set_parameters([Parameter(name, value=value)])
            assert result.successful, result.reason
        return self.node.trigger_configure()

    def shoot(self) -> None:
        self.rig.calibrate()  # with every image, as drivers do: CameraInfo is best effort, one may be lost
        self.shot_ns.append(T0 + (1 + len(self.shot_ns)) * PERIOD_NS)
        self.rig.shoot(self.shot_ns[-1])

    def shoot_until_told(self, level: str) -> dict[str, str]:
        """Frames at 20 Hz at most until diagnostics name this level; what they say."""

        def told():
            self.shoot()
            return next((d for d in self.diagnostics[-1:] if values(d).get("governor", "").startswith(level)), None)

        found = self.peer.until(told)
        return values(found) | {"message": found.status[0].message}


@pytest.fixture
def governed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Governed]:
    for name, seconds in (("CALM_S", 0.5), ("LONGEST_CALM_S", 1.0)):
        monkeypatch.setattr(governor, name, seconds)
    monkeypatch.setattr(onnxruntime, "OnnxRuntimeEngine", SlowEngine)
    monkeypatch.setattr(SlowEngine, "delays_s", {})
    domain = free_domain()
    rclpy.init(domain_id=domain)
    node = BevStudent()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    with Peer(domain) as peer:
        made = Governed(node, peer)
        thread.start()
        yield made
        executor.shutdown()
        thread.join()
        node.close()
        node.destroy_node()
    rclpy.shutdown()


def test_frames_then_the_student_are_given_up_and_taken_back(governed: Governed, tmp_path: Path):
    heavy = write_fake_student(tmp_path / "heavy.onnx", replace(SPEC, name="heavy"))
    light = write_fake_student(tmp_path / "light.onnx", replace(SPEC, name="light"))
    governing = {"deadline_ms": DEADLINE_MS, "fewest_frames": 2, "lighter_students": [str(light)]}
    assert governed.configured(model=str(heavy), **governing) == TransitionCallbackReturn.SUCCESS
    assert governed.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    governed.peer.until(governed.rig.connected)
    governed.shoot_until_told("every frame is answered by heavy@")

    SlowEngine.delays_s["heavy"] = 1.3 * DEADLINE_MS / 1e3
    state = governed.shoot_until_told("one frame of 2 is answered by light@")
    assert "reduced to keep the deadline of 500 ms: one frame of 2 is answered by light@" in state["message"]
    assert int(state["governor_steps"]) >= 2 and "frames missed the deadline of 500 ms" in state["last_governor_step"]
    governed.peer.until(lambda: governed.shoot() or governed.statuses[-1].model.startswith("light@"))

    SlowEngine.delays_s.clear()
    state = governed.shoot_until_told("every frame is answered by heavy@")
    assert "reduced" not in state["message"]
    governed.peer.until(lambda: len(governed.statuses) == len(governed.shot_ns))
    stamps = [to_nanoseconds(status.header.stamp) for status in governed.statuses]
    assert sorted(stamps) == governed.shot_ns, "every frame is reported once"
    reasons = {status.reason for status in governed.statuses}
    assert "the governor leaves it out: one frame of 2 is answered" in reasons
    names = [status.model.partition("@")[0] for status in governed.statuses if status.outcome == FrameStatus.ANSWERED]
    assert names[0] == names[-1] == "heavy" and "light" in names


def test_diagnostics_name_the_student_that_a_user_has_chosen_meanwhile():
    model = SimpleNamespace(model_id="before@1")
    exchange = SimpleNamespace(current=SimpleNamespace(student=model), lighten=lambda number: None)
    said: dict[str, str] = {}
    health = SimpleNamespace(detail=said.update, standing=lambda kind, sentence: None)
    governing = Governing(governor.Governor(governor.work_levels(2, 1), DEADLINE_MS), exchange, health, print)
    assert said["governor"] == "every frame is answered by before@1"
    model.model_id = "after@2"
    governing.answered(FrameRecord(outcome=Outcome.ANSWERED, stage_ms={"end_to_end": 1.0}))
    assert said["governor"] == "every frame is answered by after@2"


def test_a_lighter_student_that_cannot_stand_in_is_refused_at_once(governed: Governed, tmp_path: Path, capfd):
    heavy = write_fake_student(tmp_path / "heavy.onnx")
    other = write_fake_student(
        tmp_path / "other.onnx", replace(SPEC, name="other", grid=replace(SPEC.grid, cell_size=0.5))
    )
    governing = {"deadline_ms": DEADLINE_MS, "lighter_students": [str(other)]}
    assert governed.configured(model=str(heavy), **governing) == TransitionCallbackReturn.FAILURE
    log = capfd.readouterr().err
    assert "lighter student other@" in log and "cannot stand in: its grid is" in log
    (result,) = governed.node.set_parameters([Parameter("deadline_ms", value=0.0)])
    assert "lighter_students stand in to keep deadline_ms, which is 0" in result.reason
