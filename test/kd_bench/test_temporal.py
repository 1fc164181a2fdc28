"""`kd bench temporal`: every case is run as it says, and the tables hold what was measured."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.students import SMALL_SIZES

from kd_bench.options import EngineChoice
from kd_bench.temporal import Measured, TemporalBench, TemporalCase, planned_cases, temporal
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.errors import StudentError
from kd_perception.evaluation.predictions import FrameFeed, detect_scenes
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.runtime.rig_pipelines import RigPipelines
from kd_perception.student.spec import load_student
from kd_training.checkpoints.export import export_student
from kd_training.config.sections import ModelConfig, TemporalConfig, ViewConfig
from kd_training.models.students import build_student

NARROW = {
    **SMALL_SIZES, "neck_channels": 8, "context_channels": 8, "bev_channels": 8, "bev_blocks": 1, "head_shared": 8,
    "head_hidden": 8, "view": ViewConfig(heights=[0.5]),
}  # fmt: skip


@pytest.fixture(scope="module")
def painted(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def students(tmp_path_factory) -> tuple[Path, Path]:
    """Untrained files: single frame, and temporal."""
    folder = tmp_path_factory.mktemp("students")
    paths = []
    for name, frames in (("single", 1), ("temporal", 2)):
        torch.manual_seed(0)
        model = build_student(ModelConfig(name=name, temporal=TemporalConfig(frames=frames), **NARROW))
        export_student(model, folder / f"{name}.onnx", {}, {}, {})
        paths.append(folder / f"{name}.onnx")
    return paths[0], paths[1]


def test_cases_cover_both_rates_and_the_trained_intervals(students):
    single, remembering = map(load_student, students)
    cases = planned_cases(single, remembering, 10.0)
    found = [(case.student.spec.name, case.camera_hz, case.interval_s) for case in cases]
    assert found == [
        ("single", 2.0, 0.0), ("temporal", 2.0, 0.0), ("temporal", 2.0, 1.0), ("temporal", 2.0, 0.5),
        ("temporal", 10.0, 0.5), ("temporal", 10.0, 0.2), ("temporal", 10.0, 0.1),
    ]  # fmt: skip


def test_the_report_states_every_case(painted, students, tmp_path):
    report = tmp_path / "temporal.md"
    temporal(
        student=students[1], dataroot=painted, out=tmp_path / "cases", version=VERSION, single=students[0],
        scenes=[SCENES[0]], camera_hz=4.0, engine="onnxruntime", threads=1, report=report,
    )  # fmt: skip
    lines = [line for line in report.read_text().splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    start = next(i for i, row in enumerate(table) if row[0] == "student")
    shares = {tuple(row[:3]): row[3] for row in table[start + 1 : start + 8]}
    assert shares[("single", "2 Hz", "none")] == "0 %" and shares[("temporal", "2 Hz", "none")] == "0 %"
    assert shares[("temporal", "2 Hz", "0.5 s")] == "67 %"  # all keyframes but a scene's first
    assert len(shares) == 7 and len(list((tmp_path / "cases").glob("*/metrics_summary.json"))) == 7


def test_a_second_run_takes_over_what_is_there_but_not_of_another_case(painted, students, tmp_path):
    single = load_student(students[0])
    nusc, case = open_nuscenes(painted, VERSION), planned_cases(single, load_student(students[1]), 0.0)[2]
    bench = TemporalBench(nusc, [SCENES[0]], EngineChoice("onnxruntime", 1))
    runs: list[int] = []

    def measure(case: TemporalCase) -> Measured:
        return bench.measure(case, tmp_path, lambda done, total: runs.append(done))

    first = measure(case)
    assert runs == [1, 2, 3] and first.share == pytest.approx(2 / 3)
    assert measure(case).share == first.share and len(runs) == 3  # nothing was run again
    measure(replace(case, interval_s=0.5))
    assert len(runs) == 6


def test_a_student_without_memory_is_refused(painted, students, tmp_path):
    with pytest.raises(StudentError, match="has no memory"):
        temporal(student=students[0], dataroot=painted, out=tmp_path, version=VERSION)


def test_images_between_keyframes_feed_the_memory_but_are_not_scored(painted, students, monkeypatch):
    nusc = open_nuscenes(painted, VERSION)
    stamps = []

    def watched(self, record):
        stamps.append(record.stamp_ns)
        infer(self, record)

    infer = Pipeline.infer
    monkeypatch.setattr(Pipeline, "infer", watched)
    answers = {}
    for rate in (0.0, 4.0):
        stamps.clear()
        with RigPipelines(load_student(students[1]), "onnxruntime", PipelineOptions(threads=1)) as pipelines:
            answers[rate] = detect_scenes(pipelines, nusc, [SCENES[0]], FrameFeed(camera_hz=rate))
        assert len(stamps) == (5 if rate else 3) and stamps == sorted(stamps)  # a frame lies between two keyframes
    assert set(answers[0.0].results) == set(answers[4.0].results) and len(answers[4.0].results) == 3
