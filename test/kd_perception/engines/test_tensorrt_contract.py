"""Our calls against real bindings: TensorRT-RTX's, in place of TensorRT's, as far as a machine without a GPU goes.

Building is executed: parse, profile, build, serialise, keep, fetch, refuse. Running needs a GPU; of those calls it is
checked that the bindings have them with the arguments that are passed. Which calls those are is not a list that could
be forgotten: the stand-in recorded them while the engine ran. TensorRT-RTX lives in a process of its own
(support.tensorrt_calls), because a fault in its native code must not end pytest.
"""

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.fake_student import SPEC, TEMPORAL_SPEC, write_fake_student
from support.tensorrt_calls import checked_calls, rehearsed_build

from kd_perception.engines.protocol import EngineOptions
from kd_perception.engines.rig_sizes import input_shapes
from kd_perception.engines.tensorrt import TensorRtEngine
from kd_perception.engines.tensorrt_build import ParsedNetwork
from kd_perception.errors import EngineError
from kd_perception.resources import resource
from kd_perception.runtime.bev_memory import empty_memory
from kd_perception.student.spec import MEMORY_INPUT, MEMORY_OUTPUT, load_student

pytestmark = pytest.mark.skipif(
    find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX has wheels for x86_64 only"
)
RUN_TIME = {  # what no test can execute without a GPU; here so that a reader sees it, and that nothing is missed
    ("IExecutionContext", "execute_async_v3"),
    ("IExecutionContext", "get_tensor_shape"),
    ("IExecutionContext", "infer_shapes"),
    ("IExecutionContext", "set_input_shape"),
    ("IExecutionContext", "set_tensor_address"),
    ("ICudaEngine", "create_execution_context"),
    ("ICudaEngine", "get_tensor_dtype"),
    ("ICudaEngine", "get_tensor_mode"),
    ("ICudaEngine", "get_tensor_name"),
    ("ICudaEngine", "get_tensor_shape"),
    ("Runtime", "__init__"),
    ("Runtime", "deserialize_cuda_engine"),
}


def test_every_call_of_the_engine_exists_in_the_bindings(tensorrt: ModuleType, tmp_path: Path):
    student = load_student(write_fake_student(tmp_path / "student.onnx", TEMPORAL_SPEC))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"junk")
    with pytest.raises(EngineError, match="no ONNX file"):
        ParsedNetwork(tensorrt, broken.read_bytes(), str(broken))
    engine = TensorRtEngine(student, 2, EngineOptions(cache_folder=tmp_path))
    shapes = {name: np.zeros(shape, np.int32) for name, shape in input_shapes(SPEC, 2).items()}
    inputs = {
        **shapes,
        "images": shapes["images"].astype(np.uint8),
        "camera_valid": np.ones(2, np.float32),
        "weight": shapes["weight"].astype(np.float32),
        **empty_memory(student.spec.memory, student.spec.grid),
    }
    memory = engine.run(inputs)[MEMORY_OUTPUT]
    engine.run({**inputs, MEMORY_INPUT: memory})
    calls = sorted(tensorrt.calls)
    assert RUN_TIME <= {(kind, method) for kind, method, _ in calls}
    assert {kind for kind, _ in tensorrt.properties} >= {
        "ITensor",
        "INetworkDefinition",
        "ICudaEngine",
        "IBuilderConfig",
    }
    assert checked_calls(calls, sorted(tensorrt.properties)) == []


def test_the_check_notices_calls_that_do_not_exist():
    wrong = [
        ("IExecutionContext", "execute_async_v4", ("stream_handle",)),
        ("IExecutionContext", "execute_async_v3", ("bindings", "stream_handle")),
        ("IExecutionContext", "set_tensor_address", ("name",)),
        ("Engine", "run", ()),
    ]
    problems = checked_calls(wrong, [("ICudaEngine", "num_bindings")])
    assert len(problems) == len(wrong) + 1, problems


@pytest.mark.parametrize("cameras", [1, 8])
def test_our_builder_builds_keeps_and_fetches(tmp_path: Path, cameras: int):
    student = write_fake_student(tmp_path / "student.onnx", TEMPORAL_SPEC)
    rehearsal = rehearsed_build(student, cameras, tmp_path / "cache")
    assert rehearsal.error == ""
    assert rehearsal.plan_bytes > 1000 and rehearsal.same_from_cache and rehearsal.rebuilt_after_damage
    assert any(line.startswith("building: ") for line in rehearsal.reports)  # TensorRT called our progress monitor
    assert rehearsal.largest["images"] == [max(cameras, TEMPORAL_SPEC.trained_cameras), *TEMPORAL_SPEC.image_size, 3]
    assert not rehearsal.tf32


def test_our_builder_builds_the_shipped_student(tmp_path: Path):
    path = resource("models/bevdet_demo.onnx")
    rehearsal = rehearsed_build(path, 6, tmp_path / "cache")
    assert rehearsal.error == "" and rehearsal.plan_bytes > 1_000_000 and rehearsal.same_from_cache


def test_what_tensorrt_refuses_is_told_in_its_words(tmp_path: Path):
    student = write_fake_student(tmp_path / "student.onnx")
    rehearsal = rehearsed_build(student, 6, tmp_path / "cache", operator="Teleport")
    assert "refuses" in rehearsal.error and "Teleport" in rehearsal.error
    assert list((tmp_path / "cache").glob("*")) == []


def test_ctrl_c_ends_a_build(tmp_path: Path):
    student = write_fake_student(tmp_path / "student.onnx")
    rehearsal = rehearsed_build(student, 6, tmp_path / "cache", interrupt=True)
    assert rehearsal.error == "KeyboardInterrupt"
    assert not any(line.startswith("built in") for line in rehearsal.reports)
    assert list((tmp_path / "cache").glob("*")) == []
