"""The ledger: a file of JSON lines, one for every finished run. Its runs are never repeated."""

import fcntl
import json
import math
import os
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import NamedTuple

from kd_perception.atomic import write_bytes
from kd_perception.errors import DataError
from kd_perception.evaluation.metric import Metrics

DECIMALS = 5
# What reports show, with units.
FIGURES = {"mAP": "", "NDS": "", "mATE": "m", "mAOE": "rad", "axis": "rad", "turned": "%", "mAVE": "m/s"}
ERRORS = {
    "mATE": "translation", "mASE": "scale", "mAOE": "orientation", "mAVE": "velocity", "mAAE": "attribute",
}  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A run's accuracy on one split at its end.

    mAP and NDS are in [0, 1], mATE in metres, mAOE in radians, mAVE in m/s; AP and truths (boxes that the metric
    counts) are by class. `seconds` is the time of the training. `start` is a digest of the weights it started from.
    Runs of one `protocol` share everything but what their arms are about and the seed; `key` names this line.

    Of matched boxes: axis, the error of the axis in radians, and turned, the share that looks the other way; over
    classes (None where nothing matched), and by class.
    """

    suite: str
    student: str
    teacher: str
    arm: str
    seed: int
    split: str
    steps: int
    batch: int
    mAP: float  # noqa: N815 - the field's own names
    NDS: float
    mATE: float  # noqa: N815
    mASE: float  # noqa: N815
    mAOE: float  # noqa: N815
    mAVE: float  # noqa: N815
    mAAE: float  # noqa: N815
    AP: dict[str, float]
    truths: dict[str, int]
    seconds: float
    device: str
    command: str
    commit: str
    start: str
    protocol: str
    key: str
    axis: float | None = None
    turned: float | None = None
    axes: dict[str, float] = field(default_factory=dict)
    turns: dict[str, float] = field(default_factory=dict)


class Ledger(NamedTuple):
    """A file's records, and its last line if a crash tore it, else an empty text."""

    records: tuple[Record, ...]
    torn: str = ""


def accuracy(metrics: Metrics) -> dict[str, float | None | dict[str, float] | dict[str, int]]:
    """The fields of a Record that the metric gives."""
    headings = {name: entry.headings for name, entry in metrics.classes.items() if not math.isnan(entry.headings.axis)}
    return {
        "mAP": round(metrics.mean_ap, DECIMALS),
        "NDS": round(metrics.nds, DECIMALS),
        **{name: round(getattr(metrics.errors, error), DECIMALS) for name, error in ERRORS.items()},
        "axis": _known(metrics.headings.axis),
        "turned": _known(metrics.headings.turned),
        "axes": {name: round(entry.axis, DECIMALS) for name, entry in headings.items()},
        "turns": {name: round(entry.turned, DECIMALS) for name, entry in headings.items()},
        "AP": {name: round(entry.ap, DECIMALS) for name, entry in metrics.classes.items()},
        "truths": {name: entry.ground_truths for name, entry in metrics.classes.items()},
    }


def _known(value: float) -> float | None:
    """Rounded; None for NaN, which JSON has no word for."""
    return None if math.isnan(value) else round(value, DECIMALS)


def read_ledger(path: Path) -> Ledger:
    """The file's records; none if it does not exist.

    A last line that a crash tore is returned as `torn`. Raises DataError for any other line that is no record.
    """
    if not path.is_file():
        return Ledger(())
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.split("\n")
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(_record(line))
        except (ValueError, TypeError) as error:
            if number == len(lines):  # nothing ends it: it was being written
                return Ledger(tuple(records), line)
            raise DataError(
                f"{path}, line {number} is no record of kd bench distill ({error}); remove the line, its run will be "
                "repeated"
            ) from error
    return Ledger(tuple(records))


def append(path: Path, new: Sequence[Record]) -> None:
    """Add records with new keys, and drop a torn last line.

    The file is whole at every moment, and several processes may add to it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # the folder: the file itself is replaced
        records = read_ledger(path).records
        known = {record.key for record in records}
        merged = [*records, *(record for record in new if record.key not in known)]
        write_bytes(path, "".join(json.dumps(asdict(record)) + "\n" for record in merged).encode())
    finally:
        os.close(folder)


def _record(line: str) -> Record:
    """Raises ValueError or TypeError for anything else than a record."""
    entries = json.loads(line)
    if not isinstance(entries, dict):
        raise ValueError("not a JSON object")
    lacking = [
        entry.name
        for entry in fields(Record)
        if entry.name not in entries and entry.default is MISSING and entry.default_factory is MISSING
    ]
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    return Record(**entries)
