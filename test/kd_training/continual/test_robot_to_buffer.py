"""From what a robot kept to what is replayed: recording, data set, a teacher's labels, buffer, and what shows it."""

from pathlib import Path

import numpy as np
import pytest
from support import painted_teacher
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from support.painted_teacher import PaintedTeacher, things_in_ego
from support.recording_of_bag import write_recording
from support.tiny_runs import distilled_run, write_teacher
from typer.testing import CliRunner

from kd_perception.bags.nuscenes_bag import BagOptions, write_scene
from kd_perception.cli import app
from kd_perception.datasets.versions import BAG_VERSION
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.config.continual import BufferConfig, ReplayConfig
from kd_training.config.experiment import TrainConfig, to_yaml
from kd_training.config.sections import DataConfig, DataRoot
from kd_training.data.frames import KeyFrames, open_frames
from kd_training.data.replay import open_replay
from kd_training.data.replay_buffer import read_buffer
from kd_training.data.unlabelled_sets import open_student_frames
from kd_training.evaluation import uncertainty
from kd_training.evaluation.teacher import TeacherDetector
from kd_training.models.students import build_student

SCENE = SCENES[0]
WIDE = CliRunner(env={"COLUMNS": "200"})


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> KeyFrames:
    root = write_dataset(tmp_path_factory.mktemp("drive"), samples=6)
    return open_frames([DataRoot(root=str(root), version=VERSION, scenes=[SCENE])])


@pytest.fixture
def recording(source, tmp_path) -> Path:
    """Five keyframes of the drive, one important."""
    write_scene(source[0].nusc, SCENE, tmp_path / "bag", BagOptions("mcap"))
    stamps = [frame.frame.timestamp_us * 1000 for frame in source]
    return write_recording(tmp_path / "bag", tmp_path / "night", dict(zip(stamps[1:], (1, 1, 8, 1, 1), strict=True)))


@pytest.fixture
def teacher(source, monkeypatch) -> PaintedTeacher:
    """A teacher that knows where things stand in the drive, by the time alone."""
    painted, moments = PaintedTeacher(), {frame.frame.timestamp_us: frame for frame in source}
    monkeypatch.setattr(
        painted_teacher, "things_in_ego", lambda frame: things_in_ego(moments[frame.frame.timestamp_us])
    )
    monkeypatch.setattr(TeacherDetector, "outputs", lambda detector, frame: painted.outputs(detector, frame))
    return painted


def night_run(tmp_path: Path) -> TrainConfig:
    config = distilled_run(tmp_path / "none", write_teacher(tmp_path / "teacher.safetensors"))
    config.data.roots, config.data.validation = [], []
    config.data.unlabelled = [DataRoot(root=str(tmp_path / "set"), version=BAG_VERSION)]
    config.data.pseudo.folder = str(tmp_path / "labels")
    config.continual.buffer = BufferConfig(keyframes=4, least=2)
    return config


def run(*arguments: object) -> str:
    done = WIDE.invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def test_what_a_robot_kept_is_labelled_by_the_teacher_and_replayed(source, recording, teacher, tmp_path):
    run("import", "bag", recording, "--out", tmp_path / "set")
    config = night_run(tmp_path)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    assert "the teacher labelled" in run("label", tmp_path / "run.yaml")
    labelled = open_student_frames(config.data, NUSCENES)
    assert [facts.labelled for facts in labelled.facts] == [False] * 5
    shown = run("continual", "buffer", "add", tmp_path / "buffer", tmp_path / "run.yaml", "--domain", "night")
    assert max(map(len, shown.splitlines())) <= 80 and "4 of at most 4 keyframes" in shown
    buffer = read_buffer(tmp_path / "buffer")
    best = max(buffer.entries, key=lambda entry: entry.uncertainty)
    assert best.uncertainty == pytest.approx(8 / 2.4) and "car missed (8)" in best.note
    originals = {frame.frame.sample_token: frame for frame in labelled}
    for frame in open_replay(ReplayConfig(str(tmp_path / "buffer")), DataConfig(roots=[]), NUSCENES).frames:
        entry = buffer.by_sample[frame.frame.sample_token]
        original = originals[entry.source_sample]
        assert len(frame.boxes) and not frame.labelled
        for name in ("center", "size", "yaw", "velocity", "label"):
            np.testing.assert_allclose(getattr(frame.boxes, name), getattr(original.boxes, name), atol=1e-5)
        np.testing.assert_allclose(frame.doubt.xy, original.doubt.xy, atol=1e-4)
        assert set(frame.doubt.everywhere) == set(original.doubt.everywhere)
        assert {CLASSES[label] for label in frame.doubt.label} <= {CLASSES[label] for label in original.doubt.label}


def test_a_buffer_is_shown_in_tables_and_on_a_page(source, recording, teacher, tmp_path, monkeypatch):
    run("import", "bag", recording, "--out", tmp_path / "set")
    config = night_run(tmp_path)
    (tmp_path / "run.yaml").write_text(to_yaml(config))
    run("label", tmp_path / "run.yaml")
    run("continual", "buffer", "add", tmp_path / "buffer", tmp_path / "run.yaml", "--domain", "night")
    day = [
        "data.unlabelled=[]",
        f"data.roots=[{{root: {source[0].nusc.dataroot}, version: {VERSION}, scenes: [{SCENE}]}}]",
    ]
    save_weights(build_student(config.model).state_dict(), config, tmp_path / "student.safetensors")
    monkeypatch.setattr(uncertainty, "uncertainties", lambda model, frames: 1.0 + np.arange(len(frames)))
    day += ["--domain", "day", "--student", tmp_path / "student.safetensors"]
    run("continual", "buffer", "add", tmp_path / "buffer", tmp_path / "run.yaml", *day)
    shown = run("continual", "buffer", "show", tmp_path / "buffer", "--out", tmp_path / "page")
    buffer = read_buffer(tmp_path / "buffer")
    rows = [line.split() for line in shown.splitlines() if line.strip()]
    (everything,) = (row for row in rows if row[0] == "all")
    assert everything[1:3] == ["11", "4"] and everything[4] == "100%"
    assert [row[:3] for row in rows if row[:1] == ["day"]] == [
        ["day", share, "6"] for share in ("reservoir", "importance")
    ]
    cars = sum(entry.classes.get("car", 0) for entry in buffer.entries)
    assert any(row[0] == "car" and row[-1] == f"{cars}" for row in rows)
    page = (tmp_path / "page" / "buffer.html").read_text()
    assert page.count("<img") == 4 and all(entry.why in page for entry in buffer.entries)
    assert "recorded for: 1 car missed" in page
    unsure = {entry.number - 5: entry.uncertainty for entry in buffer.entries if entry.domain == "day"}
    assert unsure == {place: pytest.approx((1.0 + place) / 3.5) for place in unsure}
    foreign = WIDE.invoke(app, ["continual", "buffer", "show", str(tmp_path / "set")])
    assert foreign.exit_code == 1
