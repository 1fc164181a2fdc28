"""A result file scored with any class list: the samples' boxes after the metric's filters, and the summary file.

The filters are nuscenes-devkit's: range from ego, at least one point, and nothing inside a box of a category that the
class list names (`not_inside`: a bicycle rack).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_perception.datasets.nuscenes import annotations, range_centre
from kd_perception.evaluation.center_distance import (
    AP_WEIGHT,
    DISTANCES,
    ERROR_DISTANCE,
    LEAST_PRECISION,
    LEAST_RECALL,
    ScoredSample,
    Scores,
    TruePositiveErrors,
)
from kd_perception.evaluation.results import MAX_BOXES_PER_SAMPLE, Results, boxes_of_result
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList, HeadGroup, ObjectClass

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

DEVKIT_NAMES = {"trans_err": "translation", "scale_err": "scale", "orient_err": "orientation", "vel_err": "velocity",
                "attr_err": "attribute"}  # fmt: skip


def scored_samples(nusc: "Tables", results: Results, tokens: Sequence[str], classes: ClassList) -> list[ScoredSample]:
    """The boxes of these samples that the metric counts; raises ConfigError for a detection of another class."""
    return [_scored_sample(nusc, results, token, classes) for token in tokens]


def summary_of(scores: Scores, meta: dict[str, Any], classes: ClassList) -> dict[str, Any]:
    """The figures in the form that nuscenes-devkit writes."""

    def errors(values: TruePositiveErrors) -> dict[str, float]:
        return {theirs: getattr(values, ours) for theirs, ours in DEVKIT_NAMES.items()}

    aps = {name: dict(zip(map(str, DISTANCES), score.aps, strict=True)) for name, score in scores.classes.items()}
    means = errors(scores.errors)
    return {
        "label_aps": aps,
        "mean_dist_aps": {name: score.ap for name, score in scores.classes.items()},
        "mean_ap": scores.mean_ap,
        "label_tp_errors": {name: errors(score.errors) for name, score in scores.classes.items()},
        "tp_errors": means,
        "tp_scores": {name: max(0.0, 1.0 - value) for name, value in means.items()},
        "nd_score": scores.nds,
        "cfg": {
            "class_range": {kind.name: kind.range for kind in classes.classes},
            "dist_fcn": "center_distance",
            "dist_ths": list(DISTANCES),
            "dist_th_tp": ERROR_DISTANCE,
            "min_recall": LEAST_RECALL,
            "min_precision": LEAST_PRECISION,
            "max_boxes_per_sample": MAX_BOXES_PER_SAMPLE,
            "mean_ap_weight": AP_WEIGHT,
        },
        "meta": meta,
    }


def _scored_sample(nusc: "Tables", results: Results, token: str, classes: ClassList) -> ScoredSample:
    rows, annotated = results[token], annotations(nusc, token, classes)
    predictions = boxes_of_result(rows, np.eye(4), classes)
    kept = _counted(nusc, token, predictions)
    seen = _counted(nusc, token, annotated.boxes) & (annotated.points != 0)
    return ScoredSample(
        annotated.boxes[seen],
        [annotated.attributes[index] for index in np.flatnonzero(seen)],
        predictions[kept],
        [rows[index].get("attribute_name", "") for index in np.flatnonzero(kept)],
    )


def _counted(nusc: "Tables", token: str, boxes: Boxes) -> np.ndarray:
    """Which boxes (N,) in global are within their class's range and in no area where it does not count."""
    apart = boxes.center[:, :2] - range_centre(nusc, token)[:2]
    kept = np.linalg.norm(apart, axis=1) < boxes.classes.ranges[boxes.label]
    for label, kind in enumerate(boxes.classes.classes):
        if not kind.not_inside or not (mine := boxes.label == label).any():
            continue
        areas = annotations(nusc, token, _one_class(kind.not_inside)).boxes
        for index in range(len(areas)):
            kept[mine] &= ~_inside(boxes.center[mine], areas, index)
    return kept


def _one_class(categories: tuple[str, ...]) -> ClassList:
    """A list of one class, to read the annotations of some categories."""
    return ClassList((HeadGroup(0.0, (ObjectClass("area", (0, 0, 0), np.inf, categories),)),))


def _inside(points: np.ndarray, boxes: Boxes, index: int) -> np.ndarray:
    """Which points (N, 3) lie in one box."""
    offset = points - boxes.center[index]
    cos, sin = np.cos(boxes.yaw[index]), np.sin(boxes.yaw[index])
    along = np.stack([cos * offset[:, 0] + sin * offset[:, 1], cos * offset[:, 1] - sin * offset[:, 0], offset[:, 2]])
    return (np.abs(along.T) <= boxes.size[index] / 2.0).all(axis=1)
