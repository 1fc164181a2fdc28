"""Keys that configurations once had. Files and ledgers of that time still hold them, with the value that means what a
run without the key does."""

from typing import Any, NamedTuple

from omegaconf import DictConfig

from kd_perception.errors import ConfigError


class RetiredKey(NamedTuple):
    """A key of a section, which stood behind the key `behind`, and its value where it said nothing."""

    section: str
    name: str
    nothing: Any
    behind: str


RETIRED_KEYS: tuple[RetiredKey, ...] = (RetiredKey("distill", "adapter_steps", 0, behind="inherit_head"),)


def drop_retired(given: DictConfig) -> None:
    """Take these keys out of a stored configuration: a model that was trained with them is used without."""
    for key in RETIRED_KEYS:
        if key.name in given.get(key.section, {}):
            given[key.section].pop(key.name)


def check_retired(given: DictConfig, where: str) -> None:
    """Raise ConfigError, naming `where`, if one of these keys says something: such a run cannot go on."""
    for key in RETIRED_KEYS:
        value = given.get(key.section, {}).get(key.name, key.nothing)
        if value != key.nothing:
            raise ConfigError(
                f"{where} has {key.section}.{key.name}={value}, which this version cannot do; start a new run from its "
                "weights with --weights"
            )


def with_retired(keys: dict[str, Any]) -> dict[str, Any]:
    """A configuration's keys, by section, as they were when these stood among them."""
    found = dict(keys)
    for key in RETIRED_KEYS:
        if key.behind in found.get(key.section, {}):
            entries = {}
            for name, value in found[key.section].items():
                entries |= {name: value, **({key.name: key.nothing} if name == key.behind else {})}
            found[key.section] = entries
    return found
