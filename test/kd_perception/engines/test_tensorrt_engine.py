"""The TensorRT engine driven end to end over stand-ins (support.tensorrt_standin, support.host_cuda).

What no stand-in can tell, whether TensorRT computes the right numbers, is in test/gpu; whether the calls are the
bindings' calls is in test_tensorrt_contract.py.
"""

import gc
import sys
from enum import IntEnum
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.host_cuda import LAUNCH_FAILED, HostCuda
from support.tensorrt_opened import SMALL, inputs_for, opened

from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions, keep
from kd_perception.engines.rig_sizes import rig_profile
from kd_perception.engines.tensorrt import GpuTensor
from kd_perception.errors import EngineError, InputError, MemoryLostError
from kd_perception.geometry.camera import ring_rig
from kd_perception.runtime.bev_memory import empty_memory, memory_inputs
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import MEMORY_INPUT, MEMORY_INPUTS, MEMORY_OUTPUT, Student


@pytest.mark.parametrize("cameras", [1, 4, 12])
def test_it_answers_like_another_engine(tensorrt: ModuleType, student: Student, tmp_path: Path, cameras: int):
    engine = opened(student, tmp_path, cameras)
    reference = open_engine("onnxruntime", student, cameras, EngineOptions(threads=1))
    before = tensorrt.executions
    for seed in range(3):  # buffers must not leak one frame into the next
        inputs = inputs_for(cameras, seed)
        got, expected = engine.run(inputs), reference.run(inputs)
        assert got.keys() == expected.keys() == {"heatmap", "regression"}
        for name, value in expected.items():
            np.testing.assert_array_equal(got[name], value)
    assert tensorrt.executions == before + 3


@pytest.mark.parametrize("version", ["10.0.1", "11.1.0.106"])
def test_10_and_11_are_told_what_each_needs(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path, version: str
):
    """11 is always strongly typed; here its flag is gone, as it may be one day."""
    tensorrt.__version__ = version
    if version.startswith("11"):
        monkeypatch.setattr(tensorrt, "NetworkDefinitionCreationFlag", IntEnum("Flag", "PREFER_JIT_PYTHON_PLUGINS"))
    assert opened(student, tmp_path).run(inputs_for(4))["heatmap"].shape == (10, 32, 32)


def test_constant_inputs_go_up_once_and_others_always(
    tensorrt: ModuleType, host_cuda: HostCuda, student: Student, tmp_path: Path
):
    engine = opened(student, tmp_path)
    inputs = inputs_for(4)
    constants = [name for name in inputs if name not in ("images", "camera_valid")]
    for name in constants:
        inputs[name].flags.writeable = False
    counts = []
    for _ in range(3):
        before = host_cuda["uploads"]
        engine.run(inputs)
        counts.append(host_cuda["uploads"] - before)
    assert counts == [len(inputs), 2, 2]
    inputs["images"][...] = 0  # the same array with new content, as the pipeline's buffers
    assert engine.run(inputs)["heatmap"].max() == 0.0
    moved = {**inputs, "weight": np.zeros_like(inputs["weight"])}
    assert engine.run({**moved, **inputs_for(4), "weight": moved["weight"]})["heatmap"].max() == 0.0


def test_memory_stays_on_the_device(tensorrt: ModuleType, host_cuda: HostCuda, temporal: Student, tmp_path: Path):
    """The same numbers as with memory on the host, without it ever being copied; handles outlive later frames."""
    spec, grid = temporal.spec, temporal.spec.grid
    engine = opened(temporal, tmp_path)
    reference = open_engine("onnxruntime", temporal, 4, EngineOptions(threads=1))
    motion = np.eye(4)
    motion[:2, 3] = 1.3, -0.4
    first, empty = inputs_for(4), empty_memory(spec.memory, grid)
    ours = keep(engine.run({**first, **empty})[MEMORY_OUTPUT])
    theirs = keep(reference.run({**first, **empty})[MEMORY_OUTPUT])
    assert isinstance(ours, GpuTensor) and (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    engine.run({**inputs_for(4, seed=9), **empty})  # another frame between does not write over it
    np.testing.assert_array_equal(ours.numpy(), theirs)
    assert theirs.any()

    second = inputs_for(4, seed=1)
    before = host_cuda["uploads"]
    got = engine.run({**second, **memory_inputs(grid, ours, motion, 0.5)})
    assert host_cuda["uploads"] - before == len(second) + len(MEMORY_INPUTS) - 1
    assert host_cuda["copies"] == 4  # out of three frames, into one
    expected = reference.run({**second, **memory_inputs(grid, theirs, motion, 0.5)})
    np.testing.assert_array_equal(got["heatmap"], expected["heatmap"])
    without = reference.run({**second, **empty})["heatmap"]
    assert np.abs(got["heatmap"] - without).max() > 0.01  # or this test would show nothing
    on_host = engine.run({**second, **memory_inputs(grid, theirs, motion, 0.5)})
    np.testing.assert_array_equal(on_host["heatmap"], expected["heatmap"])


def test_memory_of_dropped_handles_is_used_again(
    tensorrt: ModuleType, host_cuda: HostCuda, temporal: Student, tmp_path: Path
):
    engine = opened(temporal, tmp_path)
    inputs = {**inputs_for(4), **empty_memory(temporal.spec.memory, temporal.spec.grid)}
    ring = [engine.run(inputs)[MEMORY_OUTPUT] for _ in range(5)]
    allocated = host_cuda["device_allocations"]
    for _ in range(20):
        ring.append(engine.run(inputs | {MEMORY_INPUT: ring[-3]})[MEMORY_OUTPUT])
        del ring[0]
    assert host_cuda["device_allocations"] <= allocated + 1
    assert len({handle.memory.address for handle in ring}) == len(ring)


def test_closing_frees_everything(tensorrt: ModuleType, host_cuda: HostCuda, temporal: Student, tmp_path: Path):
    gc.collect()
    names = ("device_allocations", "pinned_allocations", "streams", "graphs")
    before = [host_cuda[name] for name in names]
    for _ in range(3):
        engine = opened(temporal, tmp_path)
        kept = engine.run({**inputs_for(4), **empty_memory(temporal.spec.memory, temporal.spec.grid)})[MEMORY_OUTPUT]
        del engine
        assert kept.numpy().shape == kept.shape  # a handle may outlive its engine
        del kept
        gc.collect()
        assert [host_cuda[name] for name in names] == before


def test_wrong_inputs_are_named(tensorrt: ModuleType, student: Student, tmp_path: Path):
    engine = opened(student, tmp_path)
    with pytest.raises(InputError, match="input 'images' is 5x64x176x3 but the student file wants 4x64x176x3"):
        engine.run(inputs_for(5))
    with pytest.raises(InputError, match="input 'weight' is float64 but the student file wants float32"):
        engine.run(inputs_for(4) | {"weight": inputs_for(4)["weight"].astype(np.float64)})


# Where it cannot run


def test_without_tensorrt_or_gpu_it_refuses_and_auto_goes_on(
    tensorrt: ModuleType, host_cuda: HostCuda, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path
):
    host_cuda["devices"] = 0
    reports: list[str] = []
    assert open_engine("auto", student, 4, EngineOptions(1, tmp_path, reports.append)).name == "openvino"
    assert reports == [
        "engine tensorrt: TensorRT 10.3.0 is installed but no GPU can be used (the NVIDIA driver shows no GPU (is "
        "CUDA_VISIBLE_DEVICES empty?)); check nvidia-smi, or use engine openvino; engine openvino runs "
        "instead"
    ]
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # as if it were not installed
    with pytest.raises(EngineError, match=r"TensorRT is not installed .*; install TensorRT 10 or 11"):
        open_engine("tensorrt", student, 4)


def test_old_tensorrt_is_refused(tensorrt: ModuleType, student: Student, tmp_path: Path):
    tensorrt.__version__ = "8.6.1"
    with pytest.raises(EngineError, match=r"TensorRT 8\.6\.1 is too old"):
        opened(student, tmp_path)


def test_bindings_that_give_no_builder_are_a_sentence(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path
):
    def none(logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(tensorrt, "Builder", none)
    with pytest.raises(EngineError, match=r"TensorRT 10\.3\.0 does not work here \(pybind11::init"):
        opened(student, tmp_path)


def test_auto_prefers_it_and_leaves_it_when_the_gpu_fails(
    tensorrt: ModuleType, host_cuda: HostCuda, student: Student, tmp_path: Path
):
    engine = open_engine("auto", student, 4, EngineOptions(1, tmp_path))
    assert engine.name == "tensorrt"
    expected = engine.run(inputs_for(4))["heatmap"].copy()
    host_cuda["failure"] = LAUNCH_FAILED
    np.testing.assert_allclose(engine.run(inputs_for(4))["heatmap"], expected, atol=1e-6)
    assert engine.name == "openvino"
    assert engine.failures == (
        "engine tensorrt failed while running (cuCtxSetCurrent: unspecified launch failure); engine openvino runs "
        "from now on",
    )


def test_what_cannot_be_recorded_runs_without_a_graph_and_says_so(
    tensorrt: ModuleType, host_cuda: HostCuda, student: Student, tmp_path: Path
):
    host_cuda["capturable"] = 0
    reports: list[str] = []
    plain = opened(student, tmp_path, reports=reports)
    sentence = "operation not permitted when stream is capturing"
    assert reports[-1] == f"the TensorRT engine runs without a CUDA graph (cuStreamEndCapture: {sentence})"
    host_cuda["capturable"] = 1
    recorded, launches = opened(student, tmp_path), host_cuda["launches"]
    np.testing.assert_array_equal(plain.run(inputs_for(4))["heatmap"], recorded.run(inputs_for(4))["heatmap"])
    assert host_cuda["launches"] == launches + 1
    tensorrt.failing = True
    with pytest.raises(EngineError, match="cuGraphLaunch: unspecified launch failure"):
        recorded.run(inputs_for(4))
    with pytest.raises(EngineError, match="TensorRT did not run: Cuda failure: 719"):
        plain.run(inputs_for(4))


def test_memory_survives_a_failed_execution_but_not_a_dead_gpu(
    tensorrt: ModuleType, host_cuda: HostCuda, temporal: Student, tmp_path: Path
):
    empty = empty_memory(temporal.spec.memory, temporal.spec.grid)
    for dead in (False, True):
        engine = open_engine("auto", temporal, 4, EngineOptions(1, tmp_path))
        memory = engine.run({**inputs_for(4), **empty})[MEMORY_OUTPUT]
        recalled = {**inputs_for(4), **memory_inputs(temporal.spec.grid, memory, np.eye(4), 0.5)}
        if dead:
            host_cuda["failure"] = LAUNCH_FAILED
            with pytest.raises(MemoryLostError, match="engine tensorrt failed, and the temporal memory with it"):
                engine.run(recalled)
            assert engine.name == "openvino"
            engine.run({**inputs_for(4), **empty})
        else:
            tensorrt.failing = True
            expected = open_engine("openvino", temporal, 4, EngineOptions(1)).run(
                recalled | {MEMORY_INPUT: memory.numpy()}
            )["heatmap"]
            np.testing.assert_array_equal(engine.run(recalled)["heatmap"], expected)
            tensorrt.failing = False


def test_a_gpu_that_runs_out_of_memory_loses_neither_frame_nor_memory(
    tensorrt: ModuleType, host_cuda: HostCuda, temporal: Student, tmp_path: Path
):
    """Another program took it all: what is kept of a frame finds no place, and what was kept before is still there."""
    engine = open_engine("auto", temporal, 4, EngineOptions(1, tmp_path))
    first = {**inputs_for(4), **empty_memory(temporal.spec.memory, temporal.spec.grid)}
    memory = engine.run(first)[MEMORY_OUTPUT]
    recalled = {**inputs_for(4, seed=1), **memory_inputs(temporal.spec.grid, memory, np.eye(4), 0.5)}
    expected = open_engine("openvino", temporal, 4, EngineOptions(1)).run(recalled | {MEMORY_INPUT: memory.numpy()})
    host_cuda["full"] = 1
    np.testing.assert_array_equal(engine.run(recalled)["heatmap"], expected["heatmap"])
    [sentence] = engine.failures
    assert sentence == (
        "engine tensorrt failed while running (cuMemAlloc_v2: out of memory); engine openvino runs from now on"
    )
    with pytest.raises(EngineError, match="cuMemAlloc_v2: out of memory"):
        opened(temporal, tmp_path)


def test_one_plan_serves_every_rig_up_to_the_trained_count_and_refuses_larger_ones(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path
):
    for cameras in (1, 4, student.spec.trained_cameras):
        assert opened(student, tmp_path, cameras).run(inputs_for(cameras))["heatmap"].any()
    assert tensorrt.builds == 1
    opened(student, tmp_path, 8)
    assert tensorrt.builds == 2
    monkeypatch.setattr("kd_perception.engines.tensorrt.rig_profile", lambda spec, _: rig_profile(spec, 1))
    with pytest.raises(EngineError, match=r"refuses \(8, 64, 176, 3\) for input 'images' of an engine for 1 to 6 cam"):
        opened(student, tmp_path, 8)


def test_the_pipeline_starts_its_memory_anew_when_the_gpu_dies(
    tensorrt: ModuleType, host_cuda: HostCuda, temporal: Student, tmp_path: Path
):
    """No frame is lost: the one in which the GPU dies is answered without memory, and says why."""
    pipeline = Pipeline(temporal, "auto", 4, PipelineOptions(threads=1, cache_folder=tmp_path))
    height, width = SMALL.image_size
    pipeline.set_rig(ring_rig(4, width, height, np.radians(95.0)))
    reports = []
    for frame in range(4):
        if frame == 2:
            host_cuda["failure"] = LAUNCH_FAILED
        detections = pipeline.detect(list(inputs_for(4)["images"]), frame * 500_000_000, np.eye(4))
        reports.append((pipeline.engine.name, detections.memory_state))
        if frame == 2:
            assert "engine tensorrt failed, and the temporal memory with it" in detections.reset_reason
    pipeline.close()
    assert reports == [("tensorrt", "empty"), ("tensorrt", "used"), ("openvino", "empty"), ("openvino", "used")]
