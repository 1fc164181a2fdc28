"""The classes that a detector tells apart: their head groups, and what decoding, pictures and the metric need of each.

One YAML states them (the default is nuscenes.yaml, which config/classes/ links to); training writes them into the
student file, and the robot takes them from there. A class's label is its place in the list.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from kd_perception.errors import ConfigError

GREY = (170, 170, 170)  # of a class that nobody has described
MOVING_SPEED = 0.5  # m/s: slower is parked, standing or without a rider
CLASSES_HELP = "Class list (.yaml), or the student file (.onnx) that has it. Default: the ten nuScenes classes."
_EXAMPLE = "see config/classes/nuscenes.yaml for an example"


@dataclass(frozen=True)
class ObjectClass:
    """One class; `config/classes/nuscenes.yaml` says what each field means."""

    name: str
    color: tuple[int, int, int]  # RGB, 0-255
    range: float  # metres
    categories: tuple[str, ...]
    heading: Literal["full", "axis", "none"] = "full"
    moves: bool = True
    moving: str = ""
    still: str = ""
    not_inside: tuple[str, ...] = ()

    def attribute(self, speed: float) -> str:
        """The most likely attribute at a speed in m/s; '' for a class that has none."""
        return self.moving if speed > MOVING_SPEED else self.still

    @property
    def has_attributes(self) -> bool:
        """Whether data sets tell attributes of this class."""
        return bool(self.moving or self.still)


@dataclass(frozen=True)
class HeadGroup:
    """Similar classes that share a task head; `nms_radius` in metres."""

    nms_radius: float
    classes: tuple[ObjectClass, ...]


@dataclass(frozen=True)
class ClassList:
    """All classes of a detector, group by group (CenterPoint's task heads, arXiv:2006.11275)."""

    groups: tuple[HeadGroup, ...]

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def classes(self) -> tuple[ObjectClass, ...]:
        """The classes in order of their labels."""
        return tuple(entry for group in self.groups for entry in group.classes)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Their names, in order of their labels."""
        return tuple(entry.name for entry in self.classes)

    @cached_property
    def group_of_label(self) -> np.ndarray:
        """Index of each label's group (classes,) int64."""
        return np.repeat(np.arange(len(self.groups)), [len(group.classes) for group in self.groups])

    @cached_property
    def ranges(self) -> np.ndarray:
        """The metric's range of each label (classes,), metres."""
        return np.array([entry.range for entry in self.classes])

    @cached_property
    def label_of_category(self) -> dict[str, int]:
        """Labels by the categories of data sets."""
        return {category: label for label, entry in enumerate(self.classes) for category in entry.categories}

    def label(self, name: str) -> int:
        """The label of a name; raises ConfigError if it is no class."""
        if name not in self.names:
            raise ConfigError(f"'{name}' is no class; they are {', '.join(self.names)}")
        return self.names.index(name)

    def with_others(self, names: Iterable[str]) -> "ClassList":
        """These classes, labels unchanged, and behind them others that nobody has described: grey, to any range."""
        others = tuple(ObjectClass(name, GREY, float(self.ranges.max()), (name,)) for name in names)
        return ClassList((*self.groups, HeadGroup(0.0, others))) if others else self

    def check(self, where: str) -> None:
        """Raise ConfigError naming `where` for the first class or group that cannot be used."""
        if not self.classes or not all(group.classes for group in self.groups):
            raise ConfigError(f"{where}: every group needs at least one class, and there is at least one group")
        for values, what in ((self.names, "class"), ([c for e in self.classes for c in e.categories], "category")):
            double = next((value for value in values if list(values).count(value) > 1), None)
            if double is not None:
                raise ConfigError(f"{where}: {what} '{double}' stands there twice; name it once")
        for group in self.groups:
            if not group.nms_radius >= 0.0:
                raise ConfigError(f"{where}: nms_radius {group.nms_radius} of the group of "
                                  f"{group.classes[0].name} is no length; give metres, 0 or more")  # fmt: skip
        for entry in self.classes:
            _check_class(entry, where)


def class_list(given: Mapping[str, Any], where: str) -> ClassList:
    """The class list of a parsed YAML or JSON; raises ConfigError naming `where` and the key."""
    import msgspec  # only here: launch files run without it

    try:
        classes = msgspec.convert(given, ClassList)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: the classes cannot be used ({error}); {_EXAMPLE}") from error
    unknown = unknown_key(given, msgspec.to_builtins(classes))
    if unknown:
        raise ConfigError(f"{where}: unknown key '{unknown}' in the classes; {_EXAMPLE}")
    classes.check(where)
    return classes


def read_classes(path: Path) -> ClassList:
    """The class list of a YAML file; raises ConfigError if it is missing or unfit."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"class list {path} cannot be read ({error}); {_EXAMPLE}") from error
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"class list {path} is no YAML ({' '.join(str(error).split())}); {_EXAMPLE}") from error
    if not isinstance(given, dict):
        raise ConfigError(f"class list {path} is no mapping with groups; {_EXAMPLE}")
    return class_list(given, str(path))


def _shipped_classes() -> ClassList:
    """The list of nuscenes.yaml, whose form needs no check."""
    groups = yaml.safe_load((files(__package__) / "nuscenes.yaml").read_text())["groups"]
    return ClassList(tuple(HeadGroup(group["nms_radius"], tuple(map(_as_class, group["classes"]))) for group in groups))


def _as_class(fields: Mapping[str, Any]) -> ObjectClass:
    return ObjectClass(**{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()})


def _check_class(entry: ObjectClass, where: str) -> None:
    if not entry.name or not entry.categories:
        raise ConfigError(f"{where}: class '{entry.name}' needs a name and at least one category of the data set")
    if not entry.range > 0.0:
        raise ConfigError(f"{where}: range {entry.range} of class {entry.name} is no distance; give metres above 0")
    if not all(0 <= channel <= 255 for channel in entry.color):
        raise ConfigError(f"{where}: color {list(entry.color)} of class {entry.name} is not RGB from 0 to 255")


def unknown_key(given: object, known: object, path: str = "") -> str:
    """The first key of `given` that `known` lacks, with its path; empty if there is none."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            if key not in known:
                return f"{path}{key}"
            if found := unknown_key(value, known[key], f"{path}{key}."):
                return found
    elif isinstance(given, list):
        for index, (value, entry) in enumerate(zip(given, known, strict=True)):
            if found := unknown_key(value, entry, f"{path}{index}."):
                return found
    return ""


NUSCENES = _shipped_classes()  # the ten of nuScenes' detection task
CLASSES = NUSCENES.names
