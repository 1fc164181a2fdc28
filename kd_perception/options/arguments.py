"""Which options a command or a launch file offers, and how what is given there becomes options objects."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from kd_perception.options.option import Option, Parameter, Value, options_of

Options = TypeVar("Options")


@dataclass(frozen=True)
class Arguments(Generic[Options]):
    """The options `names` of a dataclass; their defaults are the values of `base`, an instance of it."""

    base: Options
    names: tuple[str, ...]

    @property
    def options(self) -> tuple[Option, ...]:
        """The offered options in the order of `names`."""
        known = {option.name: option for option in options_of(type(self.base))}
        return tuple(replace(known[name], default=getattr(self.base, name)) for name in self.names)

    def filled(self, values: Mapping[str, Value]) -> Options:
        """`base` with the values given by argument name, which may hold more than these options."""
        return replace(self.base, **{option.name: values[option.argument] for option in self.options})


def from_texts(arguments: Sequence[Arguments], text: Callable[[str], str], source: str) -> list[object]:
    """Options objects from the texts that `text` returns by argument name; raises ConfigError (Option.from_text)."""
    values = {
        option.argument: option.from_text(text(option.argument), source)
        for part in arguments
        for option in part.options
    }
    return [part.filled(values) for part in arguments]


def parameters_of(options: object, always: Sequence[str]) -> dict[str, Parameter]:
    """ROS parameters of an options object: those named in `always`, and those that differ from their default."""
    return {
        option.name: option.to_parameter(value)
        for option in options_of(type(options))
        if (value := getattr(options, option.name)) != option.default or option.name in always
    }
