"""TensorRT on a real GPU: what no other machine can tell. Skipped with the reason where either is missing.

Run them on the robot: `pytest -m gpu`. None of them has been run yet (docs/tensorrt.md): the machines that this project
was developed on have no GPU.
"""

import time
from pathlib import Path

import numpy as np
import pytest
from support.checkout import ROOT
from support.fake_student import TEMPORAL_SPEC, write_fake_student

from kd_perception.engines.base import open_engine
from kd_perception.engines.fallback import FallbackEngine
from kd_perception.engines.protocol import EngineOptions, keep
from kd_perception.engines.tensorrt import GpuTensor, TensorRtEngine, import_tensorrt, open_cuda
from kd_perception.errors import EngineError
from kd_perception.geometry.camera import ring_rig
from kd_perception.resources import resource
from kd_perception.runtime.bev_memory import empty_memory, memory_inputs
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.preprocess import fit_image
from kd_perception.student.spec import MEMORY_OUTPUT, Student, StudentSpec, load_student

TOLERANCE = 1e-3  # of max(1, |reference|), as between all engines


def why_not() -> str:
    """Empty where TensorRT and a GPU are."""
    try:
        open_cuda(import_tensorrt())
    except EngineError as error:
        return str(error)
    return ""


REASON = why_not()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(REASON), reason=REASON)]


@pytest.fixture(scope="module")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student(write_fake_student(tmp_path_factory.mktemp("student") / "temporal.onnx", TEMPORAL_SPEC))


def inputs_for(spec: StudentSpec, cameras: int, seed: int) -> dict[str, np.ndarray]:
    height, width = spec.image_size
    rig = ring_rig(cameras, width, height, np.radians(95.0))
    images = np.random.default_rng(seed).integers(0, 256, (cameras, height, width, 3), dtype=np.uint8)
    geometry = geometry_inputs(spec, rig, [fit_image((height, width), spec.image_size)] * cameras)
    for array in geometry.values():
        array.flags.writeable = False
    empty = empty_memory(spec.memory, spec.grid) if spec.memory else {}
    return {"images": images, "camera_valid": np.ones(cameras, np.float32), **geometry, **empty}


def opened(student: Student, cameras: int, folder: Path) -> TensorRtEngine:
    return TensorRtEngine(student, cameras, EngineOptions(cache_folder=folder, report=print))


def assert_close(got: np.ndarray, expected: np.ndarray) -> None:
    error = np.abs(got - expected) / np.maximum(1.0, np.abs(expected))
    assert np.isfinite(got).all() and error.max() <= TOLERANCE, f"differs by {error.max():.2g}"


@pytest.mark.parametrize("cameras", [1, 6])
def test_the_shipped_student_answers_as_on_the_reference_engine(cache_folder: Path, cameras: int):
    student = load_student(resource("models/bevdet_demo.onnx"))
    engine = opened(student, cameras, cache_folder)
    reference = open_engine("onnxruntime", student, cameras)
    for seed in range(3):
        inputs = inputs_for(student.spec, cameras, seed)
        inputs["camera_valid"][-1] = seed != 1
        got = engine.run(inputs)
        for name, expected in reference.run(inputs).items():
            assert_close(got[name], expected)


def test_memory_stays_on_the_gpu_and_counts(cache_folder: Path, temporal: Student):
    engine, reference = opened(temporal, 6, cache_folder), open_engine("onnxruntime", temporal, 6)
    motion = np.eye(4)
    motion[:2, 3] = 1.3, -0.4
    first, second = (inputs_for(temporal.spec, 6, seed) for seed in (0, 1))
    ours, theirs = (keep(one.run(first)[MEMORY_OUTPUT]) for one in (engine, reference))
    assert isinstance(ours, GpuTensor)
    engine.run(inputs_for(temporal.spec, 6, 9))  # must not write over what is kept
    assert_close(ours.numpy(), theirs)
    got, expected = (
        one.run({**second, **memory_inputs(temporal.spec.grid, memory, motion, 0.5)})["heatmap"]
        for one, memory in ((engine, ours), (reference, theirs))
    )
    assert_close(got, expected)
    assert np.abs(expected - reference.run(second)["heatmap"]).max() > 0.01


def test_many_frames_need_no_more_memory(cache_folder: Path, temporal: Student):
    engine = opened(temporal, 6, cache_folder)
    inputs = inputs_for(temporal.spec, 6, 0)
    ring = [engine.run(inputs)[MEMORY_OUTPUT] for _ in range(12)]
    seen = {handle.memory.address for handle in ring}
    for _ in range(200):
        ring.append(engine.run(inputs)[MEMORY_OUTPUT])
        seen.add(ring[-1].memory.address)
        del ring[0]
    assert len(seen) <= 14


def test_a_kept_engine_opens_faster_than_it_was_built_and_agrees(tmp_path: Path):
    student = load_student(resource("models/bevdet_demo.onnx"))
    inputs = inputs_for(student.spec, 6, 0)
    seconds, answers = [], []
    for _ in range(2):
        start = time.perf_counter()
        engine = opened(student, 6, tmp_path)
        seconds.append(time.perf_counter() - start)
        answers.append(engine.run(inputs)["heatmap"].copy())
        del engine
    print(f"built in {seconds[0]:.1f} s, opened again in {seconds[1]:.1f} s")
    np.testing.assert_array_equal(*answers)
    assert len(list(tmp_path.glob("*.plan"))) == len(list(tmp_path.glob("*.timing"))) == 1


def test_a_truncated_engine_is_built_again(tmp_path: Path, temporal: Student):
    told: list[str] = []
    opened(temporal, 1, tmp_path)
    (path,) = tmp_path.glob("*.plan")
    path.write_bytes(path.read_bytes()[:-1])
    engine = TensorRtEngine(temporal, 1, EngineOptions(cache_folder=tmp_path, report=told.append))
    assert "is truncated" in told[0] and told[-1].startswith("built in")
    assert np.isfinite(engine.run(inputs_for(temporal.spec, 1, 0))["heatmap"]).all()


def test_a_plan_that_passes_the_checksum_but_not_tensorrt_is_built_again(tmp_path: Path, temporal: Student):
    from kd_perception.engines import build_cache

    told: list[str] = []
    opened(temporal, 1, tmp_path)
    (path,) = tmp_path.glob("*.plan")
    stored = build_cache.store

    def junk_plan(folder: Path, key: build_cache.BuildKey, payload: bytes) -> Path:
        return stored(folder, key, b"junk" if key.kind == "plan" else payload)

    path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_cache, "store", junk_plan)
        opened(temporal, 1, tmp_path)
    TensorRtEngine(temporal, 1, EngineOptions(cache_folder=tmp_path, report=told.append))
    assert any("TensorRT refuses the kept engine" in line for line in told)


def test_auto_takes_it_and_goes_on_when_it_fails(cache_folder: Path, temporal: Student):
    """A failure played in the wrapper: a fault in a kernel would leave the process's GPU unusable for other tests."""
    engine = open_engine("auto", temporal, 6, EngineOptions(cache_folder=cache_folder))
    assert isinstance(engine, FallbackEngine) and engine.name == "tensorrt"
    inputs = inputs_for(temporal.spec, 6, 0)
    outputs = engine.run(inputs)
    expected, memory = outputs["heatmap"].copy(), outputs[MEMORY_OUTPUT]
    engine._engine._recorded = engine._engine._context = None  # every further execution raises
    recalled = {**inputs, **memory_inputs(temporal.spec.grid, memory, np.eye(4), 0.5)}
    assert engine.run(recalled)["heatmap"].shape == expected.shape  # the memory came over, by way of the host
    assert engine.name == "openvino" and len(engine.failures) == 1
    assert_close(engine.run(inputs)["heatmap"], expected)


def test_splat_answers_as_on_the_reference_engine(cache_folder: Path, tmp_path: Path):
    """All of its table sizes depend on the camera count: the profile must fix each of them."""
    torch = pytest.importorskip("torch")
    from kd_training.checkpoints.export import example_inputs, export_student
    from kd_training.config.experiment import load_config
    from kd_training.models.students.bevdet import BevDet

    torch.manual_seed(0)
    config = ROOT / "config" / "training" / "bevdet_demo.yaml"
    model = BevDet(load_config(config, ["model.view.kind=splat"]).model).eval()
    export_student(model, tmp_path / "splat.onnx", {}, {}, {})
    student = load_student(tmp_path / "splat.onnx")
    example = example_inputs(model, 4)
    inputs = dict(zip(example.names, example.arrays, strict=True))
    got = opened(student, 4, cache_folder).run(inputs)
    for name, expected in open_engine("onnxruntime", student, 4).run(inputs).items():
        assert_close(got[name], expected)
