"""Engines of a borrowed machine: figures or the reason for each, and a leak that is seen."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from support.fake_student import TEMPORAL_SPEC, write_fake_student

from kd_bench.gpu import engines
from kd_bench.gpu.engines import EngineTrials, engine_trials, leak_check
from kd_perception.geometry.camera import ring_rig
from kd_perception.runtime.bev_memory import empty_memory
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.spec import MEMORY_INPUT, MEMORY_OUTPUT, load_student


def test_each_engine_has_figures_or_a_reason(tmp_path: Path):
    student = load_student(write_fake_student(tmp_path / "student.onnx", TEMPORAL_SPEC))
    spec = student.spec
    height, width = spec.image_size
    images = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    tables = geometry_inputs(spec, ring_rig(2, width, height), [np.eye(3)] * 2)
    inputs = {
        "images": images,
        "camera_valid": np.ones(2, np.float32),
        **tables,
        **empty_memory(spec.memory, spec.grid),
    }
    trials = EngineTrials(tmp_path, 60.0, frames=3, leak_frames=5, names=("tensorrt", "openvino", "onnxruntime"))
    found = engine_trials({"fp32": student}, inputs, trials)
    figures = found["files"]["fp32"]
    assert list(figures) == ["tensorrt", "openvino", "onnxruntime"] and "tensorrt" in figures["tensorrt"]
    assert figures["openvino"]["frames"] == 3 and 0.0 < figures["openvino"]["p50_ms"] <= figures["openvino"]["p99_ms"]
    assert set(figures["openvino"]["errors"]) == {"heatmap", "regression", MEMORY_OUTPUT}
    assert max(figures["openvino"]["errors"].values()) < 1e-4
    assert found["leaks"]["engine"] == "openvino" and found["leaks"]["frames"] == 5


class Leaking:
    """Keeps something of every frame."""

    name, not_kept = "leaking", ""

    def __init__(self) -> None:
        self.frames: list[Mapping[str, np.ndarray]] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.frames.append(inputs[MEMORY_INPUT])
        return {MEMORY_OUTPUT: inputs[MEMORY_INPUT] + 1.0}


def test_a_leak_is_seen_and_memories_come_in_again(monkeypatch: pytest.MonkeyPatch):
    engine = Leaking()
    monkeypatch.setattr(engines, "_memory_mb", lambda: (100.0 + len(engine.frames), 7.0))
    inputs = {"images": np.zeros(1, np.uint8), MEMORY_INPUT: np.zeros(2, np.float32)}
    leaks = leak_check(engine, inputs, 50, 60.0)
    assert (leaks.frames, leaks.process_mb, leaks.process_growth_mb) == (50, 105.0, 45.0)
    assert (leaks.gpu_mb, leaks.gpu_growth_mb) == (7.0, 0.0)
    assert engine.frames[-1].max() > 1.0  # what an earlier frame gave
    assert leak_check(engine, inputs, 50, 0.0).frames == 1
