"""One option: its default, meaning and allowed values, read from text (launch, flags) or from a ROS parameter.

The options of a node are a frozen dataclass whose fields `option` makes. A field is a bool, int, float, str, Literal,
a tuple of str or Literal, or Path | None; nothing here needs ROS.
"""

from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

from kd_perception.errors import ConfigError

Parameter = bool | int | float | str | tuple[str, ...]
Value = Parameter | Path | None
KINDS = {Path | None: Path}
# As YAML 1.1 and launch's own conditions spell them.
BOOLEANS = dict.fromkeys(("true", "yes", "on", "y", "1"), True) | dict.fromkeys(("false", "no", "off", "n", "0"), False)
ALLOWED = {tuple: "names, separated by commas", Path: "a path", str: "a text"}
CARRIED = {bool: bool, int: int, float: (int, float), tuple: (list, tuple)}  # by ROS; all others are texts
CALLED = {bool: "a boolean", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Option:
    """One option, as `options_of` finds it.

    kind: bool, int, float, str, Path or tuple; limits: least and greatest number; argument: its name on the command
    line and in launch files; required: None is no value, there is no default that makes sense; live: a node that runs
    follows a change at once, otherwise it takes effect when the node is configured.
    """

    name: str
    kind: type
    default: Value
    description: str
    limits: tuple[float, float] | None
    choices: tuple[str, ...]
    argument: str
    required: bool
    live: bool

    @property
    def values(self) -> str:
        """The allowed values, as short as a table wants them; empty for names, paths and texts."""
        if self.limits is not None:
            return f"{self.limits[0]:g} to {self.limits[1]:g}"
        return "true or false" if self.kind is bool else " or ".join(self.choices)

    @property
    def summary(self) -> str:
        """The description with the limits or choices."""
        return f"{self.description[:-1]} ({self.values})." if self.limits or self.choices else self.description

    @property
    def allowed(self) -> str:
        """The allowed values as the end of a sentence."""
        if self.limits is not None:
            return f"{CALLED[self.kind]} from {self.values}"
        return self.values or ALLOWED[self.kind]

    def from_text(self, text: str, source: str) -> Value:
        """The value that a text means; raises ConfigError, which names the option as one of `source`."""
        value: Value = None
        if self.kind is bool:
            value = BOOLEANS.get(text.strip().lower())
        elif self.kind is tuple:
            value = tuple(part.strip(" '\"") for part in _unwrapped(text).split(",") if part.strip())
        elif self.kind is Path:
            value = Path(text) if text else None
        else:
            try:
                value = self.kind(text)
            except ValueError:
                pass  # None is refused below
        if not self._allows(value):
            raise ConfigError(f"{source} {self.argument} is '{text}', but must be {self.allowed}")
        return value

    def from_parameter(self, given: Parameter | None, *, unfinished: bool = False) -> Value:
        """The value of a ROS parameter; a whole number is a number, too, and None (a list without items) no names.

        unfinished: a required value may still be missing. Raises ConfigError, which names the parameter and what it is,
        if its type or its value is not allowed.
        """
        given = () if given is None and self.kind is tuple else given
        if not self._carries(given):
            raise ConfigError(f"parameter {self.name} is {_called(given)}, but must be {self.allowed}")
        value: Value = given
        if self.kind is tuple:
            value = tuple(part for part in given if part)
        elif self.kind is Path:
            value = Path(given) if given else None
        elif self.kind is float:
            value = float(given)
        if not self._allows(value) and not (unfinished and value is None):
            shown = ",".join(given) if self.kind is tuple else given
            raise ConfigError(f"parameter {self.name} is '{shown}', but must be {self.allowed}")
        return value

    def to_parameter(self, value: Value) -> Parameter:
        """The value as ROS carries it: no path is an empty text; no names are one empty text, which has a type."""
        if self.kind is tuple:
            return value or ("",)
        if self.kind is Path:
            return "" if value is None else str(value)
        return value

    def to_text(self, value: Value) -> str:
        """The text that `from_text` reads as this value."""
        if self.kind is bool:
            return str(value).lower()
        return ",".join(value) if self.kind is tuple else str(self.to_parameter(value))

    def _carries(self, given: Parameter | None) -> bool:
        """Whether ROS has a value of this option's type; to Python a bool is a number, too."""
        if isinstance(given, bool) and self.kind is not bool or not isinstance(given, CARRIED.get(self.kind, str)):
            return False
        return self.kind is not tuple or all(isinstance(part, str) for part in given)

    def _allows(self, value: Value) -> bool:
        if value is None:
            return self.kind is Path and not self.required
        if self.choices:
            return all(part in self.choices for part in (value if self.kind is tuple else (value,)))
        return self.limits is None or self.limits[0] <= value <= self.limits[1]


def option(
    description: str,
    *,
    default: Value,
    limits: tuple[float, float] | None = None,
    argument: str = "",
    required: bool = False,
    live: bool = False,
) -> Field:
    """A dataclass field that is an option; see Option. `description` states the unit; `argument`: its name if empty."""
    metadata = {"description": description, "limits": limits, "argument": argument, "required": required, "live": live}
    return field(default=default, metadata=metadata)


def same_as(kind: type, name: str, **changes: Value) -> Field:
    """An option as another dataclass of options has it, up to `changes` of its default, limits, ...: what several nodes
    share stands once."""
    known = next(item for item in fields(kind) if item.name == name)
    default = changes.pop("default", known.default)
    return field(default=default, metadata={**known.metadata, **changes})


def options_of(kind: type) -> tuple[Option, ...]:
    """The options of a dataclass, in its order."""
    hints = get_type_hints(kind)
    return tuple(_option(item, hints[item.name]) for item in fields(kind))


def _option(item: Field, hint: type) -> Option:
    of_items = get_args(hint)[0] if get_origin(hint) is tuple else hint
    choices = get_args(of_items) if get_origin(of_items) is Literal else ()
    kind = tuple if get_origin(hint) is tuple else str if choices else KINDS.get(hint, hint)
    metadata = {**item.metadata, "argument": item.metadata["argument"] or item.name}
    return Option(item.name, kind, item.default, choices=choices, **metadata)


def _called(given: Parameter | None) -> str:
    """A value and what it is, for a sentence."""
    if given is None:
        return "empty"
    if type(given) in CALLED:
        return f"'{given}' ({CALLED[type(given)]})"
    kinds = sorted({CALLED.get(type(part), "an item").split(" ", 1)[1] for part in given})
    return f"{list(given)} (a list of {'s and '.join(kinds)}s)"


def _unwrapped(text: str) -> str:
    """A list as YAML writes it, without its brackets."""
    stripped = text.strip()
    return stripped[1:-1] if stripped.startswith("[") and stripped.endswith("]") else stripped
