"""Flags of a command, made from the options that it offers."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from kd_perception.options.arguments import Arguments, fill
from kd_perception.options.option import Option, Value

Command = Callable[..., None]


def takes(*arguments: Arguments, positional: str = "") -> Callable[[Command], Command]:
    """Decorator: a command that takes options objects becomes one with a flag for each option, as typer reads it.

    positional: the option that is given without a flag.
    """
    options = [option for part in arguments for option in part.options]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**given: Value | list[str]) -> None:
            values = {name: _names(value) if isinstance(value, list) else value for name, value in given.items()}
            command(*fill(arguments, values))

        parameters = [_parameter(option, positional=option.argument == positional) for option in options]
        run.__signature__ = inspect.Signature(parameters)
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(option: Option, *, positional: bool) -> inspect.Parameter:
    """A keyword of the command's signature, with typer's description of the flag."""
    default, kind = option.default, option.kind
    metadata = {"help": option.description}
    if option.kind is tuple:
        default, kind, metadata["metavar"] = list(default), list[str], "NAME,..."
    elif option.choices:
        kind = Literal[option.choices]
    elif option.kind is Path and not option.required:
        kind = Path | None
    if option.limits is not None:
        metadata["min"], metadata["max"] = option.limits
    if option.required and option.default is None:
        default = inspect.Parameter.empty
    flags = [f"--{option.argument.replace('_', '-')}"] if default is False else []  # no --no-... of what is off
    described = typer.Argument(**metadata) if positional else typer.Option(*flags, **metadata)
    return inspect.Parameter(
        option.argument, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, described]
    )


def _names(given: list[str]) -> tuple[str, ...]:
    """Names from a flag that is given once with commas, or several times."""
    return tuple(name.strip() for text in given for name in text.split(",") if name.strip())
