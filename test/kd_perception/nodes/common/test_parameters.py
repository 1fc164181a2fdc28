"""ROS parameters of nodes: declared with descriptors, read back typed, refused by name."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import pytest
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter
from support.domains import free_domain

from kd_perception.errors import ConfigError
from kd_perception.nodes.common.parameter_files import unreadable_parameters
from kd_perception.nodes.common.parameters import ALIKE, declare_parameters, read_parameters
from kd_perception.options.listings import NODES
from kd_perception.options.option import option, options_of


@dataclass(frozen=True)
class Example:
    rate: float = option("Times a second.", default=1.0, limits=(0.0, 10.0))
    count: int = option("How many.", default=3, limits=(1, 5))
    names: tuple[str, ...] = option("Names.", default=())
    mode: Literal["raw", "compressed"] = option("How.", default="raw")
    on: bool = option("Whether.", default=True)
    folder: Path | None = option("Where.", default=None)


@dataclass(frozen=True)
class Needy:
    out: Path | None = option("Where.", default=None, required=True)


@pytest.fixture
def make_node():
    context = Context()
    context.init(domain_id=free_domain())

    def make(defaults=None, **values):
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = rclpy.create_node("example", context=context, parameter_overrides=overrides)
        declare_parameters(node, defaults or Example())
        return node

    yield make
    context.try_shutdown()


@pytest.mark.parametrize("kind", [Example, *NODES.values()])
def test_descriptors_and_defaults_are_those_of_the_dataclass(make_node, kind):
    node = make_node(kind())
    for item in options_of(kind):
        described = node.describe_parameter(item.name)
        assert described.description == item.description
        ranges = [(r.from_value, r.to_value) for r in (*described.floating_point_range, *described.integer_range)]
        assert ranges == ([item.limits] if item.limits else [])
        assert all(choice in described.additional_constraints for choice in item.choices)
        if not item.required:
            assert item.from_parameter(node.get_parameter(item.name).value) == item.default


def test_parameters_take_overrides_and_other_defaults(make_node):
    node = make_node(Example(count=5), rate=2.5, names=["a", "b"], mode="compressed", on=False, folder="x/y")
    given = read_parameters(node, Example)
    assert given == Example(2.5, 5, ("a", "b"), "compressed", False, Path("x/y"))
    assert read_parameters(make_node(), Example) == Example()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 9}, "parameter count is '9', but must be a whole number from 1 to 5"),
        ({"mode": "film"}, "parameter mode is 'film', but must be raw or compressed"),
        ({"rate": "fast"}, "parameter rate is 'fast' (a text), but must be a number from 0 to 10"),
        ({"rate": float("nan")}, "parameter rate is 'nan', but must be a number from 0 to 10"),
        ({"rate": True}, "parameter rate is 'True' (a boolean), but must be a number from 0 to 10"),
        ({"count": 2.0}, "parameter count is '2.0' (a number), but must be a whole number from 1 to 5"),
        ({"count": [2]}, "parameter count is [2] (a list of whole numbers), but must be a whole number from 1 to 5"),
        ({"on": 1}, "parameter on is '1' (a whole number), but must be true or false"),
        ({"on": "yes"}, "parameter on is 'yes' (a text), but must be true or false"),
        ({"folder": 5}, "parameter folder is '5' (a whole number), but must be a path"),
        ({"names": "a"}, "parameter names is 'a' (a text), but must be names, separated by commas"),
        ({"names": [1, 2]}, "parameter names is [1, 2] (a list of whole numbers), but must be names"),
        ({"names": [True]}, "parameter names is [True] (a list of booleans), but must be names"),
        ({"coutn": 2}, "there is no parameter coutn; count is meant"),
        ({"count": 9, "mode": "film"}, "from 1 to 5; parameter mode"),
    ],
)
def test_parameters_of_another_type_range_choice_or_name_are_refused(make_node, values, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        make_node(**values)


def test_a_whole_number_is_a_number_and_stays_one(make_node):
    node = make_node(rate=2)
    assert read_parameters(node, Example).rate == 2.0 and isinstance(node.get_parameter("rate").value, float)


def test_names_meant_for_other_nodes_are_logged_and_no_misspelling(make_node, capfd):
    make_node(battery_topic="x")
    assert "there is no parameter battery_topic: its value has no effect" in capfd.readouterr().err
    everything = {item.name for kind in NODES.values() for item in options_of(kind)}
    for kind in NODES.values():
        own = {item.name for item in options_of(kind)}
        assert not [name for name in everything - own if get_close_matches(name, own, n=1, cutoff=ALIKE)]


LISTS = """
/**:
  ros__parameters:
    rate: 1
    names: [a, 1]
    nested: {folder: }
camera_node:
  ros__parameters: {modes: [[a], [b]], good: [1.0, 2.0], gaps: [a, null]}
other: {names: [b, 2]}
"""


def test_a_file_that_ros_cannot_read_is_explained_by_parameter(tmp_path):
    (tmp_path / "p.yaml").write_text(LISTS)
    (tmp_path / "q.yaml").write_text("a: [")
    flags = [f"--params-file={tmp_path}", "--params-file", str(tmp_path / "p.yaml")]
    problems = unreadable_parameters(flags).split("; ")
    assert [problem.split(" in ")[0] for problem in problems[::1] if problem.startswith("parameter")] == [
        "parameter names", "parameter nested.folder", "parameter modes", "parameter gaps",
    ]  # fmt: skip
    assert "is a list of text and whole number, but must be of one type" in problems[0]
    assert "q.yaml cannot be read" in unreadable_parameters(["--params-file", str(tmp_path / "q.yaml")])
    assert unreadable_parameters(["--params-file"]) == ""


@pytest.mark.ros
def test_a_node_with_such_a_file_ends_with_that_sentence(tmp_path):
    (tmp_path / "p.yaml").write_text("/**:\n  ros__parameters:\n    out: [a, 1]\n")
    command = [sys.executable, "-m", "kd_perception.nodes.evaluator.node", "--ros-args", "--params-file"]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(free_domain())}
    done = subprocess.run(
        [*command, str(tmp_path / "p.yaml")], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "the node cannot run: parameter out in " in done.stderr and "list of text and whole number" in done.stderr


def test_a_required_parameter_that_is_empty_is_named(make_node):
    with pytest.raises(ConfigError, match="parameter out is '', but must be a path"):
        read_parameters(make_node(Needy()), Needy)
