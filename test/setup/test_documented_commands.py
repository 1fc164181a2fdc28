"""Every `kd` command of the README, the docs and the configurations' comments is one that `kd` takes; none is run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from support.checkout import ROOT
from typer.core import TyperGroup

from kd_perception.cli import app
from kd_training.config.experiment import load_config

PAGES = [ROOT / "README.md", ROOT / "models/README.md", *ROOT.glob("docs/*.md"), ROOT / "docs/benchmarks/README.md"]
CONFIGS = sorted(path for kind in ("training", "continual") for path in (ROOT / "config" / kind).rglob("*.yaml"))
SO_ON = "..."
UsageError = typer.BadParameter.__base__  # typer exports none of the others
START = r"(?:\S+=\S+ )*(?:kd|torchrun .*?-m kd_perception\.cli) "


def written(path: Path) -> Iterator[tuple[list[str], bool]]:
    """The arguments of each command of a file, and whether they are to be complete: those of blocks, not of prose."""
    text = path.read_text().replace("\\\n", " ")
    block = r"^#   +" if path.suffix == ".yaml" else r"^    "
    for command in re.findall(f"{block}{START}(.+)$", re.sub(r"(\s)#   +(?=[^k])", r"\1", text), re.MULTILINE):
        arguments = shlex.split(command, comments=True)
        yield arguments, "--help" not in arguments
    for command in re.findall(f"`{START}([^`]+)`", text):
        yield shlex.split(command), False


def problem(arguments: list[str], *, complete: bool) -> str:
    """What `kd` has against these arguments, '' for nothing."""
    command, rest = typer.main.get_command(app), arguments
    context = typer.Context(command, info_name="kd")
    while isinstance(command, TyperGroup):
        name = rest[0] if rest and not rest[0].startswith("-") else getattr(command, "default", None)
        if name is None or name == SO_ON:
            return ""
        rest = rest[1:] if rest and rest[0] == name else rest
        parent, command = command, command.get_command(context, name)
        if command is None:
            return f"{parent.name or 'kd'} has no command {name}"
        context = typer.Context(command, context, info_name=name)
    try:
        values, left, _ = command.make_parser(context).parse_args(list(rest))
        for parameter in command.params:
            if complete and parameter.required and not values.get(parameter.name):
                return f"{parameter.name} is missing"
    except UsageError as error:
        return error.format_message()
    left = [word for word in left if word != SO_ON]
    return f"too much: {left}" if left else ""


def overrides(words: list[str]) -> list[str]:
    """The configuration's overrides among a command's words, without the reader's own files."""
    return [word for word in words if re.match(r"[a-z_.]+=", word) and not word.endswith(".yaml")]


@pytest.mark.parametrize("path", [*PAGES, *CONFIGS], ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_are_taken(path: Path):
    for arguments, complete in written(path):
        assert not (found := problem(arguments, complete=complete)), f"kd {shlex.join(arguments)}: {found}"
        files = [word for word in arguments if re.match(r"(config|models)/[a-z\d_/.-]+$", word)]
        assert all((ROOT / file).is_file() for file in files), f"kd {shlex.join(arguments)}: a file is missing"
        words = arguments[1:] if arguments[:2] == ["continual", "update"] else arguments
        if complete and words[0] in ("train", "update") and files and words[1] == files[0]:
            load_config(ROOT / files[0], overrides(words[2:]))


def test_wrong_commands_are_noticed():
    assert problem(["eval", "--student", "x.onnx", "--dataroot", "d", "--vresion", "v"], complete=False)
    assert problem(["eval"], complete=True) and not problem(["eval"], complete=False)
    assert problem(["evil"], complete=False) and problem(["view", "a", "b", "--dataroot", "d"], complete=True)
    assert sum(complete for page in PAGES for _, complete in written(page)) > 40
