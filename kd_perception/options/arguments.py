"""Which options a command or a launch file offers, and how what is given there becomes options objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from kd_perception.options.option import Option, Parameter, Value, options_of
from kd_perception.options.parameter_file import parameters_for

Options = TypeVar("Options")


@dataclass(frozen=True)
class Arguments(Generic[Options]):
    """The options `names` of a dataclass; their defaults are the values of `base`, an instance of it.

    node: the name of the node whose section of a parameter file states them, too; optional: required ones may be left
    out, because the node may not run at all.
    """

    base: Options
    names: tuple[str, ...]
    node: str = ""
    optional: bool = False

    @property
    def options(self) -> tuple[Option, ...]:
        """The offered options in the order of `names`."""
        known = {option.name: option for option in options_of(type(self.base))}
        offered = (replace(known[name], default=getattr(self.base, name)) for name in self.names)
        return tuple(replace(option, required=option.required and not self.optional) for option in offered)

    def filled(self, values: Mapping[str, Value]) -> Options:
        """`base` with the values given by argument name, which may hold more than these options."""
        return replace(self.base, **{option.name: values[option.argument] for option in self.options})

    def completed(self, given: Options, file: Path, namespace: str) -> Options:
        """What is given, with the values of a robot's parameter file where that is the default.

        Raises ConfigError for a value of the file that is not allowed.
        """
        stated = parameters_for(file, "/".join(["", *filter(None, namespace.split("/")), self.node]))
        options = [option for option in options_of(type(given)) if option.name in stated]
        untouched = [option for option in options if getattr(given, option.name) == getattr(self.base, option.name)]
        return replace(given, **{option.name: option.from_parameter(stated[option.name]) for option in untouched})


def fill(arguments: Sequence[Arguments], values: Mapping[str, Value]) -> list[object]:
    """Options objects from values by argument name, and from the file that the argument parameter_file names."""
    given = [part.filled(values) for part in arguments]
    file, namespace = values.get("parameter_file"), values.get("namespace", "")
    if file is None:
        return given
    return [part.completed(options, file, namespace) for part, options in zip(arguments, given, strict=True)]


def from_texts(arguments: Sequence[Arguments], text: Callable[[str], str], source: str) -> list[object]:
    """Options objects from the texts that `text` returns by argument name; raises ConfigError (Option.from_text)."""
    values = {
        option.argument: option.from_text(text(option.argument), source)
        for part in arguments
        for option in part.options
    }
    return fill(arguments, values)


def parameters_of(options: object, always: Sequence[str]) -> dict[str, Parameter]:
    """ROS parameters of an options object: those named in `always`, and those that differ from their default."""
    return {
        option.name: option.to_parameter(value)
        for option in options_of(type(options))
        if (value := getattr(options, option.name)) != option.default or option.name in always
    }
