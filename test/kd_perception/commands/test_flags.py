"""Flags of `kd up` and `kd replay`: made from the options, each command with its own, refused by name."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kd_perception.bringup.graph import BEV_STUDENT_ARGUMENTS, REPLAY_EVALUATE_ARGUMENTS
from kd_perception.commands.flags import takes
from kd_perception.commands.play import OFFERED, replay
from kd_perception.commands.up import up
from kd_perception.options.arguments import Arguments
from kd_perception.options.option import option
from kd_perception.options.replay import ReplayOptions

OFFERS = {
    "bev_student": BEV_STUDENT_ARGUMENTS,
    "replay_evaluate": REPLAY_EVALUATE_ARGUMENTS,
    "replay": (Arguments(ReplayOptions(), OFFERED),),
}


def command(name: str):
    """The command as click sees it."""
    if name in ("bev_student", "replay_evaluate"):
        return typer.main.get_command(up).commands[name]
    app = typer.Typer(add_completion=False)
    app.command()(replay)
    return typer.main.get_command(app)


@pytest.mark.parametrize("name", OFFERS)
def test_each_command_has_the_flags_of_its_options_and_no_others(name):
    flags = {parameter.name: parameter for parameter in command(name).params if parameter.name != "help"}
    offered = {item.argument: item for part in OFFERS[name] for item in part.options}
    assert list(flags) == list(offered)
    for argument, item in offered.items():
        flag = flags[argument]
        assert flag.help.startswith(item.description)
        assert flag.required == (item.required and item.default is None)
        if not flag.required:
            assert item.default == (tuple(flag.default) if item.kind is tuple else flag.default)
        if item.limits is not None:
            assert (flag.min, flag.max) == item.limits


def test_values_reach_the_options():
    given = []
    app = typer.Typer()
    app.command()(takes(*REPLAY_EVALUATE_ARGUMENTS)(lambda *options: given.extend(options)))
    arguments = ["--bag", "b", "--cameras", "left,right", "--cameras", "rear", "--no-lockstep", "--threads", "3"]
    result = CliRunner().invoke(app, [*arguments, "--dataroot", "d", "--loop"])
    assert result.exit_code == 0, result.output
    replayed, detector, evaluator, graph = given
    assert (detector.camera_names, detector.threads) == (("left", "right", "rear"), 3)
    assert (replayed.bag, replayed.lockstep, replayed.loop) == (Path("b"), False, True)
    assert (evaluator.dataroot, evaluator.out) == (Path("d"), Path("out/replay")) and graph.use_sim_time


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["bev_student", "--score-threshold", "2"], ["--score-threshold", "less than or equal to 1"]),
        (["bev_student", "--threads", "many"], ["--threads", "valid integer"]),
        (["bev_student", "--transport", "film"], ["--transport", "compressed", "raw"]),
        (["bev_student", "--bag", "b"], ["No such option", "--bag"]),
        (["replay_evaluate"], ["Missing option", "--bag"]),
        (["replay_evaluate", "--bag", "b", "--rate", "0"], ["--rate", "greater than or equal to 0.001"]),
    ],
)
def test_a_wrong_value_names_its_flag(arguments, words):
    result = CliRunner().invoke(up, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert all(word in result.output for word in words), result.output


def test_an_option_that_is_on_has_a_flag_to_turn_it_off():
    @dataclass(frozen=True)
    class Lamp:
        on: bool = option("Shine.", default=True)
        blink: bool = option("Blink.", default=False)

    lamps = []
    app = typer.Typer()
    app.command()(takes(Arguments(Lamp(), ("on", "blink")))(lamps.append))
    assert CliRunner().invoke(app, ["--no-on", "--blink"]).exit_code == 0
    assert lamps == [Lamp(on=False, blink=True)]
    assert CliRunner().invoke(app, ["--no-blink"]).exit_code == 2
