"""Three classes of one's own, from a YAML file to a teacher, a student, its file, and the metric."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import yaml
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import distilled_run, teacher_run

from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.comparison import compare
from kd_perception.evaluation.offline import evaluate
from kd_perception.geometry.classes import NUSCENES, ClassList, read_classes
from kd_perception.student.classes import chosen_classes
from kd_perception.student.spec import load_student
from kd_perception.viewer.viewer_source import FrameChoice, open_source
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config
from kd_training.checkpoints.export import export_student
from kd_training.checkpoints.models import load_model
from kd_training.config.experiment import load_config
from kd_training.evaluation.validation import validation_metrics
from kd_training.loop.train import train

NAMES = ("small", "large", "fence")
CLASSES = {
    "groups": [
        {
            "nms_radius": 2.0,
            "classes": [
                {"name": "small", "color": [255, 0, 0], "range": 50, "categories": ["vehicle.car"]},
                {
                    "name": "large", "color": [0, 255, 0], "range": 50,
                    "categories": ["vehicle.bus.rigid", "vehicle.truck"],
                },
            ],
        },
        {
            "nms_radius": 1.0,
            "classes": [
                {
                    "name": "fence", "color": [0, 0, 255], "range": 30, "categories": ["movable_object.barrier"],
                    "heading": "axis", "moves": False,
                }
            ],
        },
    ]
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory) -> Path:
    """A teacher and its student of three classes; the class list's file is gone afterwards."""
    folder = tmp_path_factory.mktemp("trained")
    run = {"teacher": {"name": "t", "classes": "own.yaml"}, "data": {"roots": []}, "schedule": {"steps": 1}}
    (folder / "teacher.yaml").write_text(yaml.safe_dump(run))
    (folder / "own.yaml").write_text(yaml.safe_dump(CLASSES))
    classes = load_config(folder / "teacher.yaml").teacher.classes
    (folder / "own.yaml").unlink()
    taught = teacher_run(data)
    taught.data.paste.counts = {"small": 3}
    assert train(replace(taught, teacher=replace(taught.teacher, classes=classes)), folder / "teacher")
    config = distilled_run(data, folder / "teacher" / WEIGHTS_FILE)
    config = replace(config, model=replace(config.model, classes=classes))
    config.data.validation = config.data.roots
    assert train(config, folder / "student")
    return folder


def test_checkpoints_and_metrics_have_the_classes(trained, tmp_path) -> None:
    assert checkpoint_config(trained / "teacher" / WEIGHTS_FILE).teacher.classes["groups"][0]["classes"][1]["name"]
    ((_, metrics),) = validation_metrics(trained / "student")
    assert tuple(metrics.classes) == NAMES
    assert metrics.classes["large"].ground_truths > metrics.classes["fence"].ground_truths > 0


def test_the_student_file_carries_them_to_the_robot_and_to_evaluation(data, trained, tmp_path, capsys) -> None:
    path = tmp_path / "own.onnx"
    export_student(load_model(trained / "student" / WEIGHTS_FILE), path, {}, {}, {})
    spec = load_student(path).spec
    assert spec.classes.names == NAMES and chosen_classes(path) == spec.classes and chosen_classes(None) == NUSCENES
    assert read_classes_again(tmp_path, spec.classes) == spec.classes
    out = tmp_path / "out"
    evaluate(student=path, dataroot=data, version=VERSION, out=out, engine="onnxruntime", threads=1)
    summary = json.loads((out / "metrics_summary.json").read_text())
    assert tuple(summary["mean_dist_aps"]) == NAMES and summary["meta"]["use_camera"]
    assert all(name in (out / "report.html").read_text() for name in NAMES)
    compare(
        files=[f"own={out / 'results_nusc.json'}"], dataroot=data, version=VERSION, out=tmp_path / "compared",
        classes=path, frames=1,
    )  # fmt: skip
    assert len(list((tmp_path / "compared").glob("*.jpg"))) == 1
    source = open_source(out, data, VERSION, spec.classes)
    assert {frame.predictions.classes.names for frame in source.frames(FrameChoice(most=2))} == {NAMES}
    with pytest.raises(DataError, match="boxes of fence, large, small, but the classes are car, truck.*--classes"):
        compare(files=[f"own={out / 'results_nusc.json'}"], dataroot=data, version=VERSION, out=tmp_path / "compared")


def read_classes_again(folder: Path, classes: ClassList) -> ClassList:
    (folder / "again.yaml").write_text(yaml.safe_dump(msgspec.to_builtins(classes)))
    return read_classes(folder / "again.yaml")


def test_a_teacher_of_other_classes_is_refused(data, trained) -> None:
    with pytest.raises(ConfigError, match="train a teacher on the student's classes"):
        train(distilled_run(data, trained / "teacher" / WEIGHTS_FILE), trained / "mixed")


def test_a_class_list_that_is_not_there_is_named(tmp_path) -> None:
    (tmp_path / "run.yaml").write_text(
        "model: {name: m, classes: absent.yaml}\ndata: {roots: []}\nschedule: {steps: 1}"
    )
    with pytest.raises(ConfigError, match=r"class list .*absent\.yaml cannot be read"):
        load_config(tmp_path / "run.yaml")
