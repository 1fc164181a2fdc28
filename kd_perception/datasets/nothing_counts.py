"""Why no annotation counts, where none does: training would learn an empty world, and every score would be zero."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.nuscenes import annotations, load_frame, range_centre
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.grid import BevGrid
from kd_perception.geometry.transforms import invert

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

NAMED = 8  # categories at most in a sentence


@dataclass(frozen=True)
class Reach:
    """Where boxes count: `holds` says it of a sample's boxes in global (N,), `words` for people."""

    words: str
    holds: Callable[["Tables", str, Boxes], np.ndarray]


def metric_reach() -> Reach:
    """The metric's range of each class."""

    def holds(nusc: "Tables", token: str, boxes: Boxes) -> np.ndarray:
        apart = boxes.center[:, :2] - range_centre(nusc, token)[:2]
        return np.linalg.norm(apart, axis=1) < boxes.classes.ranges[boxes.label]

    return Reach("within the `range` that the class list has for its class", holds)


def grid_reach(grid: BevGrid) -> Reach:
    """A BEV grid around ego."""

    def holds(nusc: "Tables", token: str, boxes: Boxes) -> np.ndarray:
        return grid.holds(boxes.transformed(invert(load_frame(nusc, token).global_from_ego)).center[:, :2])

    return Reach(f"on the BEV grid, {grid.x_min:g} to {grid.x_max:g} m around ego", holds)


def why_nothing_counts(nusc: "Tables", samples: Sequence[str], classes: ClassList, reach: Reach) -> str:
    """The reason, in a sentence with its remedy, why no annotation of these samples counts; empty if one does."""
    found, with_points, nearest = 0, 0, np.inf
    for token in samples:
        of_classes = annotations(nusc, token, classes)
        boxes = of_classes.boxes[of_classes.points != 0]
        if len(boxes) and reach.holds(nusc, token, boxes).any():
            return ""
        found, with_points = found + len(of_classes.boxes), with_points + len(boxes)
        apart = boxes.center[:, :2] - range_centre(nusc, token)[:2] if len(boxes) else np.zeros((0, 2))
        nearest = min([nearest, *np.linalg.norm(apart, axis=1)])
    where = f"no annotation of the {len(samples)} samples of {nusc.dataroot} ({nusc.version}) counts"
    if not found:
        return f"{where}: {_categories(nusc, samples, classes)}"
    if not with_points:
        return (
            f"{where}: num_lidar_pts and num_radar_pts of all {found} are 0, and boxes without points are left out; "
            "count them again, or remove both from sample_annotation.json where nobody counted"
        )
    return (
        f"{where}: none of {with_points} is {reach.words}, the nearest is {nearest:.0f} m away; check that translation "
        "in sample_annotation.json and ego_pose.json is in one global frame, in metres"
    )


def _categories(nusc: "Tables", samples: Sequence[str], classes: ClassList) -> str:
    """Which categories there are instead of the wanted ones."""
    tokens = (token for sample in samples for token in nusc.get("sample", sample)["anns"])
    there = Counter(nusc.get("sample_annotation", token)["category_name"] for token in tokens)
    if not there:
        return "they have none in sample_annotation.json; choose other scenes or restore the table"
    named = ", ".join(f"{name} ({count})" for name, count in there.most_common(NAMED))
    wanted = ", ".join(list(classes.label_of_category)[:NAMED])
    return (
        f"their categories are {named}{_more(there)}, the class list knows {wanted}{_more(classes.label_of_category)}; "
        "name theirs in `categories` of a class list of your own (see config/classes), or correct category.json"
    )


def _more(names: Sequence[str] | Counter | dict) -> str:
    return f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
