"""Options read from text, and what is written from them: parameter files and tables."""

import importlib.util
from dataclasses import fields

import pytest
import yaml
from support.checkout import ROOT

from kd_perception.bringup.graph import BEV_STUDENT_ARGUMENTS, REPLAY_EVALUATE_ARGUMENTS
from kd_perception.errors import ConfigError
from kd_perception.options.arguments import from_texts
from kd_perception.options.detector import DetectorOptions
from kd_perception.options.graph import GraphOptions
from kd_perception.options.listings import NODES, parameter_file
from kd_perception.options.option import options_of
from kd_perception.options.recorder import RecorderOptions
from kd_perception.options.teacher import TeacherOptions

KINDS = [*NODES.values(), GraphOptions]
ALL = [(kind, item) for kind in KINDS for item in options_of(kind)]


@pytest.mark.parametrize("kind, item", ALL, ids=lambda value: getattr(value, "name", ""))
def test_every_option_is_complete(kind, item):
    assert item.description[0].isupper() and item.description.endswith(".")
    assert item.default == getattr(kind(), item.name)
    assert (item.limits is not None) == (item.kind in (int, float)), "a number has a range"
    if item.limits is not None:
        assert item.limits[0] <= item.default <= item.limits[1]


@pytest.mark.parametrize("kind, item", ALL, ids=lambda value: getattr(value, "name", ""))
def test_the_text_of_a_default_reads_back(kind, item):
    if item.required:
        with pytest.raises(ConfigError, match=f"flag {item.argument} is '', but must be a path"):
            item.from_text(item.to_text(None), "flag")
    else:
        assert item.from_text(item.to_text(item.default), "flag") == item.default


@pytest.mark.parametrize("node", NODES)
def test_the_parameter_file_states_every_default_with_its_description(node):
    text = (ROOT / "config" / "nodes" / f"{node}.yaml").read_text()
    assert text == parameter_file(node), "run `make options`: the options have changed"
    stated = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert list(stated) == [item.name for item in fields(NODES[node])]
    for item in options_of(NODES[node]):
        assert f"# {item.summary}" in text
        if not item.required:
            assert item.from_parameter(stated[item.name]) == item.default


def test_files_and_docs_are_written_from_the_options():
    spec = importlib.util.spec_from_file_location("write_options", ROOT / "scripts" / "write_options.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for path, text in script.texts().items():
        assert (ROOT / path).read_text() == text, f"run `make options`: {path} is not of the options"


@pytest.mark.parametrize(
    "yes, no", [("true", "false"), ("True", "False"), ("TRUE", "Off"), ("yes", "no"), ("On", "N"), ("1", "0")]
)
def test_booleans_are_read_as_python_yaml_and_launch_write_them(yes, no):
    (item,) = (item for item in options_of(GraphOptions) if item.name == "rviz")
    assert item.from_text(yes, "flag") is True and item.from_text(no, "flag") is False


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("rate", "fast", "a number from 0.001 to 1000"),
        ("rate", "nan", "a number from 0.001 to 1000"),
        ("threads", "1.5", "a whole number from 0 to 256"),
        ("score_threshold", "2", "a number from 0 to 1"),
        ("loop", "perhaps", "true or false"),
        ("bag", "", "a path"),
    ],
)
def test_a_wrong_text_names_its_argument(name, text, expected):
    given = {item.argument: item.to_text(item.default) for part in REPLAY_EVALUATE_ARGUMENTS for item in part.options}
    given |= {"bag": "some_bag", name: text}
    with pytest.raises(ConfigError, match=f"^launch argument {name} is '{text}', but must be {expected}$"):
        from_texts(REPLAY_EVALUATE_ARGUMENTS, given.__getitem__, "launch argument")


@pytest.mark.parametrize("cameras", ["left, right,", "[left, right]", "['left', \"right\"]"])
def test_texts_fill_the_options(cameras):
    given = {item.argument: item.to_text(item.default) for part in BEV_STUDENT_ARGUMENTS for item in part.options}
    given |= {"cameras": cameras, "transport": "raw"}
    assert from_texts(BEV_STUDENT_ARGUMENTS, given.__getitem__, "launch argument") == [
        DetectorOptions(camera_names=("left", "right"), transport="raw"),
        GraphOptions(),
        TeacherOptions(),
        RecorderOptions(),
    ]
