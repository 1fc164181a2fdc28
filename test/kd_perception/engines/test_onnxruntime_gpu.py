"""ONNX Runtime's GPU engines where no GPU is: the real onnxruntime, whose CPU device plays the card.

What TensorRT-RTX's and CUDA's providers compute, no machine of ours can tell; which of their options exist, the
plugin's own header says where its wheel is installed.
"""

import re
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest
from support.host_cuda import LAUNCH_FAILED, HostCuda
from support.tensorrt_opened import inputs_for

from kd_perception.engines import onnxruntime_gpu
from kd_perception.engines.base import AUTO_ORDER, engine_names, open_engine
from kd_perception.engines.cuda import Cuda
from kd_perception.engines.onnxruntime import CPU_PROVIDER
from kd_perception.engines.onnxruntime_gpu import CUDA_PROVIDER, RTX_CACHE_OPTION, RTX_PLUGIN, CudaEngine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import EngineError
from kd_perception.student.spec import Student

GPU_ENGINES = ("onnxruntime-rtx", "onnxruntime-cuda")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, host_cuda: HostCuda) -> HostCuda:
    """A driver with a GPU; both providers are installed, and are the CPU's."""
    monkeypatch.setattr(onnxruntime_gpu, "Cuda", lambda: Cuda(str(host_cuda.path)))
    monkeypatch.setattr(onnxruntime_gpu, "find_spec", lambda name: name)
    monkeypatch.setattr(onnxruntime_gpu, "registered_plugin", lambda: CPU_PROVIDER)
    monkeypatch.setattr(onnxruntime_gpu, "CUDA_PROVIDER", CPU_PROVIDER)
    return host_cuda


@pytest.mark.parametrize("name", GPU_ENGINES)
def test_they_answer_as_the_protocol_says(card: HostCuda, student: Student, tmp_path: Path, name: str):
    reports: list[str] = []
    engine = open_engine(name, student, 4, EngineOptions(1, tmp_path, reports.append))
    assert engine.name == name and not engine.not_kept
    expected = open_engine("onnxruntime", student, 4, EngineOptions(1)).run(inputs_for(4))
    for output, value in engine.run(inputs_for(4)).items():
        np.testing.assert_array_equal(value, expected[output])
    with pytest.raises(EngineError, match=f"engine {name}: input 'images' is 5x64x176x3 but the student file wants 4x"):
        engine.run(inputs_for(5))
    [told] = reports  # here all of them do
    assert re.fullmatch(rf"engine {name}: (\d+) of \1 operators run on the CPU", told)
    folder = tmp_path / "onnxruntime-rtx"
    assert folder.is_dir() == (name == "onnxruntime-rtx")


def test_a_cache_that_cannot_be_made_is_told_and_the_engine_runs(card: HostCuda, student: Student, tmp_path: Path):
    (tmp_path / "file").touch()
    engine = open_engine("onnxruntime-rtx", student, 4, EngineOptions(1, tmp_path / "file"))
    assert "cannot be kept in" in engine.not_kept and engine.run(inputs_for(4))["heatmap"].any()


def test_a_card_of_another_generation_is_a_sentence(card: HostCuda, monkeypatch: pytest.MonkeyPatch, student: Student):
    monkeypatch.setattr(onnxruntime_gpu, "registered_plugin", lambda: "none of the devices")
    with pytest.raises(
        EngineError, match=r"no card that it takes \(Host GPU has compute capability 8\.6; it takes 8\.6"
    ):
        open_engine("onnxruntime-rtx", student, 4)


def test_cuda_that_falls_back_to_the_cpu_is_refused(
    host_cuda: HostCuda, monkeypatch: pytest.MonkeyPatch, student: Student
):
    """ONNX Runtime itself goes on without a word; as here, where its CUDA provider does not exist."""
    monkeypatch.setattr(onnxruntime_gpu, "Cuda", lambda: Cuda(str(host_cuda.path)))
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, CPU_PROVIDER])
    with pytest.warns(UserWarning, match="not in available provider"), pytest.raises(EngineError) as error:
        CudaEngine(student, 4, EngineOptions(1))
    assert "cannot use Host GPU: CUDA or cuDNN is missing or of another version" in str(error.value)


def test_what_is_not_installed_is_passed_over_without_a_word(monkeypatch: pytest.MonkeyPatch, student: Student):
    monkeypatch.setattr(onnxruntime_gpu, "find_spec", lambda name: None)
    reports: list[str] = []
    assert set(GPU_ENGINES) < set(AUTO_ORDER) <= set(engine_names())
    assert open_engine("auto", student, 4, EngineOptions(1, report=reports.append)).name == "openvino"
    assert not any("onnxruntime" in line for line in reports)
    for name, wheel in zip(GPU_ENGINES, ("onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxruntime-gpu"), strict=True):
        with pytest.raises(EngineError, match=f"{name}: {wheel} is not installed"):
            open_engine(name, student, 4)


def test_a_driver_without_gpu_is_told_and_auto_goes_on(
    tensorrt: ModuleType, card: HostCuda, student: Student, tmp_path: Path
):
    card["devices"] = 0
    reports: list[str] = []
    assert open_engine("auto", student, 4, EngineOptions(1, tmp_path, reports.append)).name == "openvino"
    assert [line.split(":")[0] for line in reports] == ["engine tensorrt", *(f"engine {name}" for name in GPU_ENGINES)]
    assert all("shows no GPU" in line and line.endswith("engine openvino runs instead") for line in reports)


def test_a_gpu_that_vanishes_takes_all_its_engines_with_it(
    tensorrt: ModuleType, card: HostCuda, student: Student, tmp_path: Path
):
    """The frame is answered by the first engine that needs none, and no engine of the dead GPU is left in between."""
    engine = open_engine("auto", student, 4, EngineOptions(1, tmp_path))
    expected = engine.run(inputs_for(4))["heatmap"].copy()
    assert engine.name == "tensorrt"
    tensorrt.failing = True  # this engine alone: the next of the same GPU takes over
    np.testing.assert_array_equal(engine.run(inputs_for(4))["heatmap"], expected)
    assert engine.name == "onnxruntime-rtx"
    tensorrt.failing = False
    engine = open_engine("auto", student, 4, EngineOptions(1, tmp_path))
    card["failure"] = LAUNCH_FAILED
    np.testing.assert_allclose(engine.run(inputs_for(4))["heatmap"], expected, atol=1e-6)
    assert engine.name == "openvino" and len(engine.failures) == 1


@pytest.mark.skipif(find_spec(RTX_PLUGIN) is None, reason="the wheels of requirements/gpu.txt are not installed")
def test_the_plugins_own_header_knows_our_option_and_its_library_names_what_it_lacks():
    folder = Path(find_spec(RTX_PLUGIN).origin).parent
    assert f'"{RTX_CACHE_OPTION}"' in (folder / "tensorrt_rtx_provider_options.h").read_text()
    try:
        assert onnxruntime_gpu.registered_plugin() == "NvTensorRTRTXExecutionProvider"
    except EngineError as error:
        assert re.search(r"does not load \(.*libcuda\.so\.1", str(error))  # a machine without an NVIDIA driver
