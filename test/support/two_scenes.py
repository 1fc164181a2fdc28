"""A rendered scene twice in one data set, with changed calibrations of some cameras in either copy."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path

from kd_perception.datasets.versions import SYNTHETIC_VERSION

PLAIN = ("category", "attribute", "visibility", "sensor", "map", "log")


def twice(source: Path, out: Path, changes: Mapping[str, Callable[[dict], None]]) -> Path:
    """Copies of the scene of `source` named by the keys of `changes`, each of which edits calibrated_sensor rows."""
    tables = {path.stem: json.loads(path.read_text()) for path in (source / SYNTHETIC_VERSION).glob("*.json")}
    tables.pop("splits", None)
    copied = {name: rows if name in PLAIN else [] for name, rows in tables.items()}
    shared = {row["token"] for name in PLAIN for row in tables[name]}
    for scene, change in changes.items():
        for name in set(tables) - set(PLAIN):
            for row in tables[name]:
                new = {key: _renamed(key, value, scene, shared) for key, value in deepcopy(row).items()}
                if name == "scene":
                    new["name"] = scene
                if name == "calibrated_sensor":
                    change(new)
                copied[name].append(new)
    (out / SYNTHETIC_VERSION).mkdir(parents=True)
    for name, rows in copied.items():
        (out / SYNTHETIC_VERSION / f"{name}.json").write_text(json.dumps(rows))
    for folder in ("samples", "sweeps", "maps"):
        if (source / folder).exists():
            (out / folder).symlink_to(source / folder)
    return out


def _renamed(key: str, value: object, scene: str, shared: set[str]) -> object:
    is_token = key in ("token", "prev", "next") or key.endswith("_token")
    return f"{scene}-{value}" if is_token and value and value not in shared else value
