"""`kd bench` on a narrow student and painted frames: the parts are the whole, and the tables hold what was measured."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from support.narrow_model import NARROW
from support.nuscenes_tables import VERSION, write_dataset

from kd_bench.cut_student import split_student
from kd_bench.dataset_frames import count_missing, read_frames
from kd_bench.stages import cli
from kd_bench.stages.cli import pipeline as bench_pipeline
from kd_bench.stages.measure import LAYOUTS, STAGES, WHOLE, measure_stages
from kd_bench.stages.parity import RAW_TOLERANCE, Parity, measure_parity
from kd_bench.untrained import untrained_student
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import ConfigError, DataError, StudentError
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.spec import Student, load_student
from kd_training.checkpoints.export import example_memory
from kd_training.config.experiment import TrainConfig
from kd_training.config.sections import (
    DataConfig,
    DataRoot,
    ModelConfig,
    StudentScheduleConfig,
    TemporalConfig,
    ViewConfig,
)

Students = Callable[[str, int], Student]


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> Students:
    """A student for a view and a number of frames, each exported once."""
    return cache(lambda kind, frames: write_student(tmp_path_factory.mktemp("student"), kind, frames))


def write_student(folder: Path, kind: str, frames: int) -> Student:
    view, temporal = ViewConfig(kind=kind, heights=[0.5, 1.5]), TemporalConfig(frames=frames)
    config = TrainConfig(
        model=ModelConfig(name="narrow", view=view, temporal=temporal, **NARROW),
        data=DataConfig(roots=[DataRoot(root="none", version="none")]),
        schedule=StudentScheduleConfig(steps=1),
    )
    return untrained_student(config, folder)


@pytest.fixture(scope="module")
def student(students: Students) -> Student:
    return students("pull", 1)


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


def test_a_small_data_set_repeats_varied_and_reproducibly(dataroot: Path):
    frames, again = (read_frames(dataroot, VERSION, 9) for _ in range(2))
    assert [frame.images for frame in frames] == [frame.images for frame in again]
    assert count_missing(frames) == 3  # six keyframes as they are, three more with a camera missing
    assert all(None not in frame.images for frame in frames[:6])
    assert frames[6].images != frames[0].images and frames[6].cameras[0].same_calibration(frames[0].cameras[0])


def test_a_missing_image_file_is_named(tmp_path: Path):
    root = write_dataset(tmp_path, samples=1)
    victim = sorted((root / "samples" / "CAM_BACK").iterdir())[0]
    victim.unlink()
    with pytest.raises(DataError, match=f"{victim.name} is missing"):
        read_frames(root, VERSION, 2)


@pytest.mark.parametrize(("kind", "frames"), [("pull", 1), ("splat", 1), ("pull", 2), ("attention", 2)])
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_three_parts_one_after_the_other_are_the_whole(
    tmp_path: Path, students: Students, dataroot: Path, kind: str, frames: int, engine: str
):
    student = students(kind, frames)
    frame = read_frames(dataroot, VERSION, 1)[0]
    pipeline = Pipeline(student, engine, 6, PipelineOptions(threads=1))
    pipeline.set_rig(frame.cameras)
    record = FrameRecord(images=frame.images)
    pipeline.prepare(record)
    tensors = record.inputs
    if frames == 2:
        tensors |= example_memory(student.spec, np.random.default_rng(0).random(student.spec.memory_shape, np.float32))
    whole = {name: value.copy() for name, value in pipeline.engine.run(tensors).items()}
    split = split_student(student, 6, tmp_path)
    for part in (split.image_network, split.view_transform, split.bev_network):
        tensors.update(open_engine(engine, part, 6, EngineOptions(threads=1)).run(tensors))
    for name, value in whole.items():
        np.testing.assert_allclose(tensors[name], value, atol=1e-5)


def test_a_file_without_a_view_transform_cannot_be_split(tmp_path: Path):
    from support.fake_student import write_fake_student

    fake = load_student(write_fake_student(tmp_path / "fake.onnx"))
    with pytest.raises(StudentError, match=r"fake\.onnx has no separate view transform"):
        split_student(fake, 6, tmp_path)


def test_engines_are_compared_with_memory_too(students: Students, dataroot: Path):
    student = students("pull", 2)
    (result,) = measure_parity(student, read_frames(dataroot, VERSION, 2), ["onnxruntime"], 1)
    assert set(result.raw_error) == set(student.spec.outputs)  # random weights have ties, so boxes may differ
    assert max(result.raw_error.values()) <= RAW_TOLERANCE


def test_an_engine_that_rounds_is_not_held_to_pytorch(students: Students, dataroot: Path, monkeypatch):
    compared = []

    def agreeing(student: Student, frames: object, engines: list[str], *_: object) -> list[Parity]:
        compared.extend(engines)
        return [Parity(name, 1, {"heatmap": 0.0}, 0, 0) for name in engines]

    monkeypatch.setattr(cli, "measure_parity", agreeing)
    cli.parity(student=students("pull", 1).path, dataroot=dataroot, version=VERSION, frames=1, threads=1)
    assert {"openvino", "onnxruntime"} <= set(compared) and not {"openvino-bf16", "torch"} & set(compared)


@pytest.mark.parametrize("frames", [1, 2])
def test_every_stage_is_timed_on_every_frame(students: Students, dataroot: Path, frames: int):
    pytest.importorskip("rclpy", reason="the message stage needs the ROS packages")
    student, calls = students("pull", frames), []
    times = measure_stages(student, read_frames(dataroot, VERSION, 2), "openvino", 1, lambda *done: calls.append(done))
    assert set(STAGES) <= set(times.engine) and all(len(times.engine[stage]) == 2 for stage in STAGES)
    assert set(times.eager) == set(LAYOUTS) and all(len(part[WHOLE]) == 2 for part in times.eager.values())
    whole, parts = (np.sum([times.engine[stage] for stage in stages]) for stages in ((WHOLE,), STAGES))
    assert 0.0 < whole < parts
    assert times.better_layout() in LAYOUTS and calls[-1] == (2, 2)


def test_the_command_writes_its_table(student: Student, dataroot: Path, tmp_path: Path, capsys, monkeypatch):
    pytest.importorskip("rclpy", reason="the message stage needs the ROS packages")
    monkeypatch.setattr("sys.argv", ["kd", "bench"])
    out = tmp_path / "pipeline.md"
    options = {"dataroot": dataroot, "version": VERSION, "frames": 2, "engine": "onnxruntime", "threads": 1}
    bench_pipeline(student=student.path, graph=False, out=out, **options)
    text = out.read_text()
    assert "onnxruntime" in capsys.readouterr().out
    for word in (*STAGES, student.model_id, "eager PyTorch ms", "cores of", "command: `kd bench`"):
        assert word in text
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| of which")]
    assert len(rows) == 4 and all(float(row[3]) > 0 for row in rows)
    assert [row[5].strip().endswith("x") for row in rows] == [False, True, True, True]  # PyTorch decodes no JPEG
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pipeline.md"]


def test_a_student_and_an_untrained_one_exclude_each_other(student: Student, tmp_path: Path):
    with pytest.raises(ConfigError, match="--student and --untrained exclude each other"):
        bench_pipeline(student=student.path, untrained=tmp_path / "any.yaml")
