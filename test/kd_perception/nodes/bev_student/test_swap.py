"""Students are exchanged in the running node while frames stream: every frame is answered once, by one student."""

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from support.detector import Bench, S, bench, values
from support.fake_student import SPEC, TEMPORAL_SPEC, write_fake_student
from typer.testing import CliRunner

from kd_msgs.msg import FrameStatus
from kd_perception.bringup.lifecycle_client import ACTIVATE, CLEANUP, CONFIGURE, DEACTIVATE, LifecycleClient
from kd_perception.commands.swap import swap
from kd_perception.nodes.bev_student.swap_client import SwapClient
from kd_perception.ros.stamps import to_nanoseconds

pytestmark = pytest.mark.ros
kd = typer.Typer()
kd.command()(swap)


class Stream:
    """Frames one after the other while somebody swaps; each is waited for, so that a busy machine drops none."""

    def __init__(self, b: Bench) -> None:
        self.b, self.statuses = b, []

    def while_(self, act: Callable[[], object]) -> object:
        """Stream until the swap has ended, and a few frames on."""
        results = []
        thread = threading.Thread(target=lambda: results.append(act()))
        thread.start()
        self.frames(3)
        while thread.is_alive():
            self.frames(1)
        self.frames(3)
        return results[0]

    def frames(self, count: int) -> list[FrameStatus]:
        """Shoot so many frames, and their statuses."""
        for _ in range(count):
            stamp_ns = self.b.next_stamp(S // 5)
            self.b.rig.shoot(stamp_ns)
            self.statuses.append(self.b.status(stamp_ns))
        return self.statuses[-count:]

    def models(self) -> list[str]:
        """The students that answered, in the order of frames; the same ones in a row count once."""
        names = [status.model.partition("@")[0] for status in self.statuses]
        return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def fails_in_the_light(folder: Path) -> Path:
    """A student that runs on black images, as a trial has them, and fails on all others: it reads far out of range."""
    path = write_fake_student(folder / "late.onnx", replace(SPEC, name="late"))
    model = onnx.load(path)
    graph, node = model.graph, onnx.helper.make_node
    (clip,) = [entry for entry in graph.node if entry.op_type == "Clip"]
    clip.input[0] = "checked_heatmap"
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1e6), "far"))
    at = list(graph.node).index(clip)
    for index, entry in enumerate([
        node("ReduceMax", ["float_images"], ["brightest"], keepdims=0),
        node("Mul", ["brightest", "far"], ["far_away"]),
        node("Cast", ["far_away"], ["there"], to=onnx.TensorProto.INT64),
        node("Gather", ["flat_scores", "there"], ["read_there"]),
        node("Mul", ["read_there", "zero"], ["nothing_of_it"]),
        node("Add", ["raw_heatmap", "nothing_of_it"], ["checked_heatmap"]),
    ]):  # fmt: skip
        graph.node.insert(at + index, entry)
    onnx.save(model, path)
    return path


def last_swap(b: Bench, text: str) -> dict[str, str]:
    """Wait for diagnostics whose last swap is told with this text."""
    told = b.peer.until(lambda: next((d for d in b.diagnostics if text in values(d).get("last_swap", "")), None))
    return values(told)


def parameter(b: Bench) -> str:
    """The parameter `model`."""
    client = b.peer.node.create_client(GetParameters, "/bev_student/get_parameters")
    b.peer.until(client.service_is_ready)
    response = client.call_async(GetParameters.Request(names=["model"]))
    b.peer.until(response.done)
    return response.result().values[0].string_value


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Path]]:
    """A detector for both tests, and the folder of its students."""
    folder = tmp_path_factory.mktemp("swap")
    with bench(folder, spec=replace(SPEC, name="day")) as b:
        yield b, folder


def test_students_come_and_go_while_every_frame_is_answered_once(running, monkeypatch):
    b, folder = running
    stream = Stream(b)
    stream.frames(3)
    night = write_fake_student(folder / "night.onnx", replace(TEMPORAL_SPEC, name="night"))
    with SwapClient("/bev_student", b.domain) as client:
        result = stream.while_(lambda: client.swap(str(night)))
        assert result.done and "night@" in result.sentence and "took over from day@" in result.sentence
        state = last_swap(b, "night@")
        assert state["model"].startswith("night@") and state["model_before"].startswith("day@")
        assert state["model_since"] and state["last_swap"] == f"done: {result.sentence}"

        (folder / "text.onnx").write_text("no model")
        fine = write_fake_student(folder / "fine.onnx", replace(SPEC, grid=replace(SPEC.grid, cell_size=0.5)))
        for file, reason in (("text.onnx", "no readable ONNX"), ("absent.onnx", "does not exist"), (fine, "grid")):
            result = stream.while_(lambda file=file: client.swap(str(folder / file)))
            assert not result.done and reason in result.sentence
        assert parameter(b) == str(night), "the parameter names what runs"

        shutil.copy(write_fake_student(folder / "rain.onnx", replace(SPEC, name="rain")), night)  # in place
        assert stream.while_(lambda: client.swap(str(night))).done
        monkeypatch.setenv("ROS_DOMAIN_ID", str(b.domain))
        answer = stream.while_(lambda: CliRunner().invoke(kd, ["--back"]))
        assert answer.exit_code == 0 and "runs again instead of rain@" in answer.output.replace("\n", " ")

        stream.while_(lambda: client.swap(str(fails_in_the_light(folder))))
    stream.frames(2)
    state = last_swap(b, "student late@")
    assert state["last_swap"].startswith("not done: ") and "failed while running" in state["last_swap"]
    assert state["model"].startswith("night@") and state["model_before"] == "none"
    assert stream.models() == ["day", "night", "rain", "night"]
    reasons = [status.reset_reason for status in stream.statuses if "took over" in status.reset_reason]
    assert [reason.split("@")[0] for reason in reasons] == [f"student {n}" for n in ("night", "rain", "night", "night")]
    check_each_frame_once(stream)


def check_each_frame_once(stream: Stream) -> None:
    """Every frame was answered, reported once, and its boxes are of the student that the status names."""
    assert all(status.outcome == FrameStatus.ANSWERED for status in stream.statuses)
    stamps = [to_nanoseconds(status.header.stamp) for status in stream.b.statuses]
    assert len(stamps) == len(set(stamps))
    counts = [status.frames_answered for status in stream.statuses]
    assert counts == list(range(counts[0], counts[0] + len(counts)))
    for status in stream.statuses[-6:]:
        found = stream.b.found(to_nanoseconds(status.header.stamp))
        assert found.model == status.model and len(found.detections) == 1


def test_a_swap_that_is_not_ready_when_the_node_goes_down_is_void(running):
    b, folder = running
    new = write_fake_student(folder / "new.onnx", replace(SPEC, name="new"))
    client = b.peer.node.create_client(SetParameters, "/bev_student/set_parameters")
    b.peer.until(client.service_is_ready)
    request = SetParameters.Request(parameters=[Parameter("model", value=str(new)).to_parameter_msg()])

    def ask() -> None:
        response = client.call_async(request)
        b.peer.until(response.done)
        assert response.result().results[0].successful

    with LifecycleClient(["bev_student"], b.domain) as lifecycle:
        ask()
        for transition in (DEACTIVATE, CLEANUP, CONFIGURE, ACTIVATE):
            lifecycle.change("bev_student", transition)
    b.rig.calibrate()
    status = b.shoot_until(lambda status: status.outcome == FrameStatus.ANSWERED)
    assert (parameter(b) == str(new)) == status.model.startswith("new@")  # it may have been quicker
    ask()  # and the process ends in the middle of that, with status 0: leaving the fixture looks


def test_a_file_or_back_is_asked_for():
    assert "either a student file or --back" in CliRunner().invoke(kd, []).output
    assert CliRunner().invoke(kd, ["new.onnx", "--back"]).exit_code == 2
