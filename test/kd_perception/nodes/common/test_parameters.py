"""ROS parameters of nodes: declared with descriptors, read back typed, refused by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import rclpy
from rclpy.context import Context
from rclpy.parameter import Parameter

from kd_perception.errors import ConfigError
from kd_perception.nodes.common.parameters import declare_parameters, read_parameters
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
    context.init()

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


def test_parameters_out_of_range_or_choice_are_refused(make_node):
    with pytest.raises(Exception, match="count"):
        make_node(count=9)
    with pytest.raises(ConfigError, match="parameter mode is 'film', but must be raw or compressed"):
        read_parameters(make_node(mode="film"), Example)


def test_a_required_parameter_that_is_empty_is_named(make_node):
    with pytest.raises(ConfigError, match="parameter out is '', but must be a path"):
        read_parameters(make_node(Needy()), Needy)
