"""Configurations: what is wrong is named, with the nearest valid key."""

from pathlib import Path

import pytest
import torch

from kd_perception.errors import ConfigError
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.experiment import (
    TeacherTrainConfig,
    config_from_yaml,
    load_config,
    load_student_config,
    to_yaml,
)
from kd_training.data.frames import open_dataset
from kd_training.distill.distiller import Distiller
from kd_training.distill.fit import Side
from kd_training.models.students import build_student
from kd_training.models.teachers import build_teacher

DEMO = resource("config/training/bevdet_demo.yaml")


SHIPPED = sorted(resource("config").glob("*/*.yaml"))
CONFIGURATIONS = [path for path in SHIPPED if path.parent.name in ("training", "teacher", "distill", "nuscenes")]


def write(tmp_path: Path, text: str, name: str = "config.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_configurations_load_round_trip_and_build_their_models(path):
    config = load_config(path)
    assert config_from_yaml(to_yaml(config), "copy") == config
    with torch.device("meta"):
        if isinstance(config, TeacherTrainConfig):
            build_teacher(config.teacher)
        else:
            build_student(config.model)


def test_every_shipped_student_fits_its_teacher():
    """The teacher is the one that the recipe names, or without one the shipped weights."""
    recipes = 0
    for path in CONFIGURATIONS:
        config = load_config(path)
        if isinstance(config, TeacherTrainConfig) or not config.distill.teacher:
            continue
        recipe = config.distill.teacher_recipe
        taught = load_config(resource(recipe)) if recipe else checkpoint_config(resource(config.distill.teacher))
        with torch.device("meta"):
            student, teacher = build_student(config.model), build_teacher(taught.teacher)
            sides = [
                Side("student", student.spec.grid, student.spec.classes, student.feature_channels, student.head),
                Side("teacher", teacher.grid, teacher.classes, teacher.feature_channels, teacher.head),
            ]
            assert Distiller(config.distill, *sides).term_names
        recipes += 1
    assert recipes >= 6


def test_a_recipe_takes_the_folder_of_its_data_from_one_key():
    config = load_config(resource("config/nuscenes/centerpoint_to_bevdepth.yaml"), ["data.root=/data/nuscenes"])
    assert [(source.root, source.split) for source in (*config.data.roots, *config.data.validation)] == [
        ("/data/nuscenes", "train"),
        ("/data/nuscenes", "val"),
    ]
    schedule = config.schedule
    assert (schedule.epochs, schedule.total_batch, schedule.learning_rate, schedule.steps) == (24, 64, 2e-4, 0)
    without = load_config(resource("config/nuscenes/bevdet_r50.yaml"))
    with pytest.raises(ConfigError, match="give data.root=FOLDER"):
        open_dataset(without.data.roots[0])


def test_a_file_changes_values_of_its_base(tmp_path):
    write(tmp_path, "model: {name: a}\nbase: other.yaml\n", "first.yaml")
    write(tmp_path, "model: {name: b, bev_blocks: 3}\ndata: {roots: []}\nschedule: {steps: 4}\n", "other.yaml")
    config = load_config(tmp_path / "first.yaml", ["schedule.steps=5"])
    assert (config.model.name, config.model.bev_blocks, config.schedule.steps) == ("a", 3, 5)
    write(tmp_path, "base: first.yaml\n", "other.yaml")
    with pytest.raises(ConfigError, match="is its own base"):
        load_config(tmp_path / "first.yaml")
    (tmp_path / "other.yaml").unlink()
    with pytest.raises(ConfigError, match="other.yaml does not exist"):
        load_config(tmp_path / "first.yaml")


def test_student_and_teacher_files_are_told_apart(tmp_path):
    both = write(tmp_path, "model: {name: a}\nteacher: {name: b}\n")
    with pytest.raises(ConfigError, match="has both teacher: and model:"):
        load_config(both)
    teacher = write(tmp_path, "teacher: {name: b}\ndata: {roots: []}\nschedule: {steps: 1}\n")
    with pytest.raises(ConfigError, match="is a teacher's \\(b\\)"):
        load_student_config(teacher)


def test_overrides_change_nested_values():
    config = load_config(
        DEMO,
        [
            "schedule.steps=7",
            "model.view.kind=splat",
            "data.augment.mirror=false",
            "data.roots=[{root: a, version: b}]",
        ],
    )
    assert (config.schedule.steps, config.model.view.kind, config.data.augment.mirror) == (7, "splat", False)
    assert [(root.root, root.version) for root in config.data.roots] == [("a", "b")]
    (root,) = load_config(DEMO, ["data.roots.0.root=elsewhere"]).data.roots
    assert (root.root, root.version) == ("elsewhere", "v1.0-synth")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.stpes=7", "unknown key 'schedule.stpes'; did you mean 'schedule.steps'"),
        ("model.view.hight=7", "unknown key 'model.view.hight'; did you mean 'model.view.heights'"),
        ("data.roots=[{rot: a}]", "did you mean 'data.roots\\[\\].root'"),
        ("schedule.steps=many", "schedule.steps"),
        ("distill.feature.temprature=1", "did you mean 'distill.feature.temperature'"),
        ("distill.layers=[{student: half, techer: block1}]", "did you mean 'distill.layers\\[\\].teacher'"),
        ("distill.blending.method=abg", "distill.blending.method.*agb"),
        ("model=3", "model is 3; it is a section with name, backbone"),
        ("data.roots=[out]", "data.roots\\[\\] is 'out'; it is a section with root, version"),
        ("schedule.epochs=2", "either schedule.steps or schedule.epochs"),
        ("schedule.precision=16-mixed", "schedule.precision is '16-mixed'; it is one of bf16-mixed, 32-true"),
        ("schedule.steps", "not of the form key=value"),
        ("data.roots.7.root=a", "cannot be applied"),
        ("schedule.steps=[1", "cannot be applied"),
    ],
)
def test_a_wrong_override_is_one_sentence(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(DEMO, [override])


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="not readable YAML"):
        load_config(write(tmp_path, "model: {name: [}"))
    with pytest.raises(ConfigError, match="not a mapping"):
        load_config(write(tmp_path, "- 1\n- 2\n"))


def test_a_value_without_default_must_be_given(tmp_path):
    with pytest.raises(ConfigError, match="schedule.steps"):
        load_config(write(tmp_path, "model: {name: a}\ndata: {roots: []}\n"))


def test_a_text_can_be_cleared_on_the_command_line():
    config = load_config(
        resource("config/continual/update_demo.yaml"), ["continual.replay.folder=", "distill.teacher="]
    )
    assert config.continual.replay.folder == config.distill.teacher == ""
    assert config.continual.student == "models/bevdet_demo.onnx"
    with pytest.raises(ConfigError, match="schedule.steps"):
        load_config(resource("config/continual/update_demo.yaml"), ["schedule.steps="])
