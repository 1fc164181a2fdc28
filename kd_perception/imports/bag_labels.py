"""Labels of a bag as simple JSON: a list of boxes, each with class, center, size, yaw, stamp and frame.

    {"labels": [{"class": "forklift", "center": [4.1, 0.3, 0.9], "size": [2.4, 1.2, 2.0], "yaw": 0.1,
                 "stamp": 1700000000.05, "frame": "base_link", "track": "7"}],
     "without_objects": [1700000000.55]}

center is the geometric centre, size is length, width, height in metres, yaw is counter-clockwise about the frame's z;
stamp is in seconds of the bag's header stamps. `track` may be left out; boxes of one object share it, and give its
velocity. `without_objects`: stamps of keyframes that were looked at and hold nothing.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np

from kd_perception.errors import DataError

EXAMPLE = "docs/own_data.md shows an example"
NANOSECONDS = 1_000_000_000


class BagLabel(msgspec.Struct, frozen=True, rename={"kind": "class"}, forbid_unknown_fields=True):
    """One box, as the module says."""

    kind: str
    center: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    stamp: float
    frame: str = "base_link"
    track: str = ""

    @property
    def stamp_ns(self) -> int:
        """The stamp in nanoseconds; seconds as a double are good to a quarter of a microsecond."""
        return round(self.stamp * NANOSECONDS)


class _LabelFile(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[BagLabel]
    without_objects: list[float] = []


@dataclass(frozen=True)
class BagLabels:
    """All boxes of a bag, and the stamps (ns) of the moments that were labelled, those without objects included."""

    boxes: tuple[BagLabel, ...]
    stamps_ns: tuple[int, ...]

    @cached_property
    def _by_stamp(self) -> dict[int, list[BagLabel]]:
        moments: dict[int, list[BagLabel]] = {stamp: [] for stamp in self.stamps_ns}
        for label in self.boxes:
            moments[label.stamp_ns].append(label)
        return moments

    def at(self, stamp_ns: int) -> list[BagLabel]:
        """The boxes of a moment."""
        return self._by_stamp[stamp_ns]


def read_bag_labels(path: Path) -> BagLabels:
    """Labels of a JSON file: the object above, or its list alone. Raises DataError naming the first unfit one."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"labels {path} cannot be read ({error}); give the JSON file") from error
    try:
        given = msgspec.json.decode(data, type=_LabelFile | list[BagLabel])
    except msgspec.DecodeError as error:
        raise DataError(f"labels {path}: {error}; {EXAMPLE}") from error
    file = given if isinstance(given, _LabelFile) else _LabelFile(given)
    for index, label in enumerate(file.labels):
        if reason := _unfit(label):
            raise DataError(f"labels {path}: box {index} of class '{label.kind}' has {reason}; correct it")
    stamps = {label.stamp_ns for label in file.labels} | {round(stamp * NANOSECONDS) for stamp in file.without_objects}
    if not stamps:
        raise DataError(f"labels {path} hold no box; leave --labels out to import a bag without labels")
    return BagLabels(tuple(file.labels), tuple(sorted(stamps)))


def _unfit(label: BagLabel) -> str:
    """What is wrong with a box, '' if nothing is."""
    if not label.kind:
        return "no class"
    if not np.isfinite([*label.center, *label.size, label.yaw, label.stamp]).all():
        return "numbers that are not finite"
    if min(label.size) <= 0.0:
        return f"the size {list(label.size)}, which is not length, width and height above 0"
    if abs(label.yaw) > 2.0 * np.pi:
        return f"the yaw {label.yaw:g}, which must be in radians"
    return ""
