"""Lifecycle nodes: refusals, bugs, what is closed again, and parameters that are set while the node runs."""

import re
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from support.domains import free_domain

from kd_perception.errors import ConfigError, DataError
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.options.option import option

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)


@dataclass(frozen=True)
class Example:
    rate: float = option("Times a second.", default=1.0, limits=(0.0, 10.0), live=True)
    mode: Literal["raw", "compressed"] = option("How.", default="raw", live=True)
    marks: tuple[Literal["a", "b"], ...] = option("Which.", default=("a",))
    count: int = option("How many.", default=3, limits=(1, 5))

    def __post_init__(self) -> None:
        if len(set(self.marks)) < len(self.marks):
            raise ConfigError("a mark is given twice")


class Door(ManagedNode[Example]):
    """Notes what it opens and closes; `fault`: (step, what it raises)."""

    def __init__(self) -> None:
        super().__init__("door", Example())
        self.open: list[str] = []
        self.fault: tuple[str, Exception] | None = None

    def configure(self, ending: ExitStack) -> None:
        self._take(ending, "configure")

    def activate(self, ending: ExitStack) -> None:
        self._take(ending, "activate")

    def _take(self, ending: ExitStack, step: str) -> None:
        for part in (f"{step} 1", f"{step} 2"):
            self.open.append(part)
            ending.callback(self._release, part)
            self._fail_at(part)

    def _release(self, part: str) -> None:
        self.open.remove(part)
        self._fail_at(f"end of {part}")

    def _fail_at(self, step: str) -> None:
        if self.fault is not None and self.fault[0] == step:
            raise self.fault[1]

    def set(self, **values) -> str:
        """Set parameters at once; '' or why they are refused."""
        result = self.set_parameters_atomically([Parameter(name, value=value) for name, value in values.items()])
        assert result.successful != bool(result.reason)
        return result.reason


@pytest.fixture
def door():
    rclpy.init(domain_id=free_domain())
    node = Door()
    yield node
    node.destroy_node()
    rclpy.shutdown()


@pytest.mark.parametrize("step", ["configure 2", "activate 2"])
@pytest.mark.parametrize("error", [DataError("the bag is cut"), TypeError("no such key")], ids=["refusal", "bug"])
def test_a_step_that_fails_is_told_undone_and_may_be_tried_again(door, capfd, step, error):
    door.fault = step, error
    outcomes = [door.trigger_configure(), step[0] == "c" or door.trigger_activate()]
    assert outcomes == ([FAILURE, True] if step[0] == "c" else [SUCCESS, FAILURE])
    assert door.open == ([] if step[0] == "c" else ["configure 1", "configure 2"])
    log = capfd.readouterr().err
    assert str(error) in log and ("Traceback" in log and "_fail_at" in log) == isinstance(error, TypeError)
    door.fault = None
    assert (step[0] != "c" or door.trigger_configure() == SUCCESS) and door.trigger_activate() == SUCCESS
    assert (door.trigger_deactivate(), door.trigger_cleanup()) == (SUCCESS, SUCCESS) and not door.open


@pytest.mark.parametrize("step", ["activate 2", "configure 2"])
def test_a_bug_while_closing_is_told_and_the_rest_is_closed(door, capfd, step):
    """The node is then unconfigured, as after any error by the lifecycle's rules."""
    door.fault = f"end of {step}", KeyError("lost")
    assert (door.trigger_configure(), door.trigger_activate()) == (SUCCESS, SUCCESS)
    outcomes = [door.trigger_deactivate()]
    if step[0] == "c":
        outcomes.append(door.trigger_cleanup())
    assert outcomes[-1] == ERROR and not door.open
    assert "KeyError: 'lost'" in capfd.readouterr().err
    door.fault = None
    assert door.trigger_configure() == SUCCESS


def test_a_running_node_follows_live_parameters_and_refuses_others(door):
    assert door.set(count=4, rate=2.0) == ""
    door.trigger_configure()
    assert door.settings == Example(rate=2.0, count=4)
    for activate in (False, True):
        assert activate is False or door.trigger_activate() == SUCCESS
        assert door.set(rate=3) == "" and door.settings.rate == 3.0
        assert "parameter count takes effect after configure" in door.set(count=5)
        assert "parameter marks takes effect" in door.set(rate=1.0, marks=["b"])
        assert door.settings == Example(rate=3.0, count=4) and door.get_parameter("rate").value == 3.0
        assert door.set(count=4, rate=2.0) == ""  # as it is: a file that is loaded again
    door.trigger_deactivate()
    door.trigger_cleanup()
    assert door.set(count=5) == "" and door.trigger_configure() == SUCCESS and door.settings.count == 5


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "film"}, "parameter mode is 'film', but must be raw or compressed"),
        ({"marks": ["a", "c"]}, "parameter marks is 'a,c', but must be a or b"),
        ({"rate": 11.0}, "rate"),
        ({"marks": ["b", "b"]}, "twice|takes effect"),
        ({"rate": float("nan")}, "rate"),
        ({"count": "three"}, r"parameter count is 'three' \(a text\), but must be a whole number from 1 to 5"),
        ({"rate": 12}, "parameter rate is '12', but must be a number from 0 to 10"),
        ({"marks": None}, "parameter marks cannot be deleted; it must be a or b"),
    ],
)
def test_values_that_are_not_allowed_are_refused_when_they_are_set(door, configured, values, reason):
    if configured:
        door.trigger_configure()
    assert re.search(reason, door.set(**values))
    door.trigger_configure()
    assert door.settings == Example()
