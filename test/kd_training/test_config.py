"""Configurations: what is wrong is named, with the nearest valid key."""

from pathlib import Path

import pytest

from kd_perception.errors import ConfigError
from kd_perception.resources import resource
from kd_training.config import config_from_yaml, load_config, to_yaml

DEMO = resource("config/training/bevdet_demo.yaml")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(resource("config/training").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_configurations_load_and_round_trip(path):
    config = load_config(path)
    assert config_from_yaml(to_yaml(config), "copy") == config


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
