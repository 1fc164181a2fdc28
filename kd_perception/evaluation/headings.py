"""What the metric's orientation error is made of: how far axes are off, and how many boxes are turned.

A box that is turned by more than 90 degrees has an orientation error near pi although its axis may be right; the mean
of both kinds says little of either. Pairs and averaging are those of the metric's other errors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.evaluation.center_distance import (
    ERROR_DISTANCE,
    MatchedClass,
    ScoredSample,
    matched_class,
    mean_at_recalls,
    mean_of_known,
    yaw_errors,
)
from kd_perception.geometry.classes import ClassList, ObjectClass


@dataclass(frozen=True)
class HeadingErrors:
    """Of matched boxes; NaN where the class defines none, or where nothing matched.

    axis: radians between the axes, at most pi / 2, whichever way the boxes look; turned: share of those that look the
    other way, by more than 90 degrees.
    """

    axis: float
    turned: float


UNKNOWN = HeadingErrors(np.nan, np.nan)


def heading_errors(samples: Sequence[ScoredSample], classes: ClassList) -> dict[str, HeadingErrors]:
    """By class name."""
    return {
        kind.name: UNKNOWN if kind.heading == "none" else _of_class(matched_class(samples, label, ERROR_DISTANCE), kind)
        for label, kind in enumerate(classes.classes)
    }


def mean_heading_errors(errors: Sequence[HeadingErrors]) -> HeadingErrors:
    """Over the classes that have them."""
    return HeadingErrors(
        mean_of_known([entry.axis for entry in errors]), mean_of_known([entry.turned for entry in errors])
    )


def _of_class(matched: MatchedClass, kind: ObjectClass) -> HeadingErrors:
    whole = yaw_errors(matched, 2.0 * np.pi)
    values = {"axis": np.minimum(whole, np.pi - whole), "turned": (whole > np.pi / 2.0).astype(float)}
    means = mean_at_recalls(matched, values)
    if means is None:
        return UNKNOWN
    return HeadingErrors(means["axis"], np.nan if kind.heading == "axis" else means["turned"])
