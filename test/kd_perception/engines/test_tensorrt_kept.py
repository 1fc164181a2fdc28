"""Engines that the TensorRT engine builds, keeps in files and takes again, over the stand-ins."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.tensorrt_opened import inputs_for, opened

from kd_perception.engines import tensorrt_build
from kd_perception.engines.protocol import EngineOptions
from kd_perception.engines.tensorrt import TensorRtEngine
from kd_perception.student.spec import Student


def test_the_second_start_builds_nothing(tensorrt: ModuleType, student: Student, tmp_path: Path):
    reports: list[str] = []
    expected = opened(student, tmp_path, reports=reports).run(inputs_for(4))["heatmap"].copy()
    assert tensorrt.builds == 1
    assert reports[0].startswith("building painted@") and "for 1 to 6 cameras on Host GPU" in reports[0]
    assert reports[-1].startswith("built in")
    reports.clear()
    np.testing.assert_array_equal(opened(student, tmp_path, reports=reports).run(inputs_for(4))["heatmap"], expected)
    assert tensorrt.builds == 1
    (sentence,) = reports
    assert sentence.startswith("TensorRT engine taken from ")
    opened(student, tmp_path, cameras=8)
    assert tensorrt.builds == 2


def test_a_new_model_finds_the_timings_of_the_old(
    tensorrt: ModuleType, student: Student, temporal: Student, tmp_path: Path
):
    opened(student, tmp_path)
    opened(temporal, tmp_path)
    assert tensorrt.timings_given == [b"", b"timings"]


@pytest.mark.parametrize("suffix", ["plan", "timing"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "junk"])
def test_damaged_files_are_built_again_and_replaced(
    tensorrt: ModuleType, student: Student, tmp_path: Path, suffix: str, damage: str
):
    opened(student, tmp_path)
    (path,) = tmp_path.glob(f"*.{suffix}")
    whole = path.read_bytes()
    broken = {"truncated": whole[:-3], "flipped": whole[:-1] + bytes([whole[-1] ^ 1]), "junk": b"junk"}[damage]
    path.write_bytes(broken)
    if suffix == "timing":
        next(tmp_path.glob("*.plan")).unlink()
    reports: list[str] = []
    opened(student, tmp_path, reports=reports)
    assert tensorrt.builds == 2 and tensorrt.timings_given[-1] == (b"timings" if suffix == "plan" else b"")
    assert any(str(path) in sentence and "again" in sentence for sentence in reports)
    assert path.read_bytes() == whole


def test_an_engine_that_tensorrt_refuses_is_built_again(tensorrt: ModuleType, student: Student, tmp_path: Path):
    opened(student, tmp_path)
    tensorrt.refused_plans = 1
    reports: list[str] = []
    opened(student, tmp_path, reports=reports)
    assert tensorrt.builds == 2
    assert (
        "TensorRT refuses the kept engine (Serialization assertion failed: versions differ); it is built again"
        in reports
    )


def test_timings_that_tensorrt_refuses_are_taken_again(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path
):
    monkeypatch.setattr(tensorrt_build, "_kept_timings", lambda *_: b"of another device")
    reports: list[str] = []
    opened(student, tmp_path, reports=reports)
    assert "TensorRT refuses the kept timings of kernels; they are taken again" in reports
    assert tensorrt.timings_given == [b""]


@pytest.mark.parametrize("change", ["version", "gpu"])
def test_another_tensorrt_or_gpu_builds_its_own(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path, change: str
):
    opened(student, tmp_path)
    if change == "version":
        tensorrt.__version__ = "10.4.0"
    else:
        monkeypatch.setattr("kd_perception.engines.cuda.MULTIPROCESSORS", 75)  # the driver says 8 there, not 14
    opened(student, tmp_path)
    assert tensorrt.builds == 2 and len(list(tmp_path.glob("*.plan"))) == 2


def test_an_engine_that_cannot_be_kept_still_runs_and_says_so(tensorrt: ModuleType, student: Student, tmp_path: Path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    reports: list[str] = []
    engine = opened(student, blocked / "folder", reports=reports)
    assert "could not be kept in" in engine.not_kept and engine.not_kept in reports
    assert engine.run(inputs_for(4))["heatmap"].shape == (10, 32, 32)


def test_progress_is_told_while_building(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path
):
    monkeypatch.setattr(tensorrt_build, "REPORT_EVERY_S", 0.0)
    reports: list[str] = []
    opened(student, tmp_path, reports=reports)
    assert [line for line in reports if line.startswith("building: ")] == [
        "building: Timing, step 1 of 2, 0 s so far", "building: Timing, step 2 of 2, 0 s so far",
    ]  # fmt: skip


def test_ctrl_c_ends_a_build_and_keeps_nothing(
    tensorrt: ModuleType, monkeypatch: pytest.MonkeyPatch, student: Student, tmp_path: Path
):
    monkeypatch.setattr(tensorrt_build, "REPORT_EVERY_S", 0.0)

    def interrupted(sentence: str) -> None:
        if sentence.startswith("building: "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TensorRtEngine(student, 4, EngineOptions(cache_folder=tmp_path, report=interrupted))
    assert not list(tmp_path.iterdir())
