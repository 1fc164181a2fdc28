"""The nuScenes detection metric (mAP, NDS; arXiv:1903.11027) on any nuScenes-format tables and any set of scenes.

On nuScenes' own classes matching and scoring are nuscenes-devkit's code (`DetectionEval.evaluate`, its loaders and its
filters by range, points and bicycle racks). Only the choice of samples is ours: the devkit knows the scenes of its
official splits, other data sets have other names. On an official split the figures are the devkit's, digit for digit.
Other class lists are scored by the same definitions (`evaluation.center_distance`).
"""

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kd_perception.atomic import write_text
from kd_perception.datasets.nothing_counts import metric_reach, why_nothing_counts
from kd_perception.datasets.nuscenes import range_centre, scene_names, scene_samples
from kd_perception.errors import DataError
from kd_perception.evaluation.any_classes import scored_samples, summary_of
from kd_perception.evaluation.center_distance import ScoredSample, Scores, TruePositiveErrors, score_samples
from kd_perception.evaluation.headings import UNKNOWN, HeadingErrors, heading_errors, mean_heading_errors
from kd_perception.evaluation.result_folder import HEADING_ERRORS
from kd_perception.evaluation.results import MAX_BOXES_PER_SAMPLE, read_meta, read_results
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList

if TYPE_CHECKING:
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.detection.data_classes import DetectionMetrics
    from nuscenes.eval.detection.evaluate import DetectionEval

    from kd_perception.datasets.tables import Tables

CONFIGURATION = "detection_cvpr_2019"  # ranges and matching distances of the public benchmark


@dataclass(frozen=True)
class ClassMetrics:
    """One class: how many boxes and detections the metric's filters leave, AP, and the matched boxes' errors.

    `headings` takes the orientation's error apart.
    """

    ground_truths: int
    detections: int
    ap: float
    errors: TruePositiveErrors
    headings: HeadingErrors = UNKNOWN


@dataclass(frozen=True)
class Metrics:
    """The nuScenes detection metric: mAP and NDS in [0, 1], errors averaged over classes, and each class's figures."""

    mean_ap: float
    nds: float
    errors: TruePositiveErrors
    classes: dict[str, ClassMetrics]
    summary: dict[str, Any]  # SUMMARY_FILE: what nuscenes-devkit writes, and HEADING_ERRORS
    class_list: ClassList = NUSCENES

    @property
    def headings(self) -> HeadingErrors:
        """What the orientation's error is made of, averaged over classes."""
        return mean_heading_errors([row.headings for row in self.classes.values()])


def counted(boxes: Boxes) -> Boxes:
    """Boxes in ego within the range that the metric has for their class (its filter by bicycle racks aside)."""
    return boxes[in_range(boxes)]


def in_range(boxes: Boxes) -> np.ndarray:
    """Which boxes (N,) in ego are within that range; bool."""
    return np.linalg.norm(boxes.center[:, :2], axis=1) < boxes.classes.ranges[boxes.label]


def evaluate_results(
    nusc: "Tables",
    result_path: Path,
    scenes: Sequence[str] | None = None,
    summary_path: Path | None = None,
    *,
    classes: ClassList = NUSCENES,
) -> Metrics:
    """Score a result file over `scenes` (default: all); with `summary_path` also write the devkit's summary.

    Samples of other scenes in the file are ignored. Raises DataError if the file lacks a sample of the scenes (a sample
    without detections has an empty list), or if ground truth or file cannot be read.
    """
    tokens = [
        token for scene in (scene_names(nusc) if scenes is None else scenes) for token in scene_samples(nusc, scene)
    ]
    _check(nusc, result_path, tokens, classes)
    samples = scored_samples(nusc, read_results(result_path), tokens, classes)
    metrics = (
        _devkit_metrics(nusc, Path(result_path), tokens)
        if classes == NUSCENES
        else _metrics(samples, read_meta(result_path), classes)
    )
    metrics = _with_headings(metrics, heading_errors(samples, classes))
    if summary_path is not None:
        write_text(summary_path, json.dumps(metrics.summary, indent=2))
    return metrics


def _with_headings(metrics: Metrics, headings: dict[str, HeadingErrors]) -> Metrics:
    rows = {name: replace(row, headings=headings[name]) for name, row in metrics.classes.items()}
    written = {name: {"axis_err": entry.axis, "turned": entry.turned} for name, entry in headings.items()}
    return replace(metrics, classes=rows, summary={**metrics.summary, HEADING_ERRORS: written})


def _metrics(samples: Sequence[ScoredSample], meta: dict[str, bool], classes: ClassList) -> Metrics:
    """The metric of any class list."""
    scores = score_samples(samples, classes)
    summary = summary_of(scores, meta, classes)
    return Metrics(scores.mean_ap, scores.nds, scores.errors, _by_class(scores), summary, classes)


def _by_class(scores: Scores) -> dict[str, ClassMetrics]:
    return {
        name: ClassMetrics(score.ground_truths, score.detections, score.ap, score.errors)
        for name, score in scores.classes.items()
    }


def _devkit_metrics(nusc: "Tables", result_path: Path, tokens: list[str]) -> Metrics:
    """The metric of nuScenes' classes, by nuscenes-devkit."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the devkit's loaders draw a progress bar of their own
            evaluator = _make_evaluator(nusc, result_path, tokens)
    except Exception as error:  # the devkit asserts, and raises plain Exception
        raise DataError(
            f"nuscenes-devkit cannot use {result_path} with these tables ({error}); fix the one named"
        ) from error
    figures, _ = evaluator.evaluate()
    summary = json.loads(json.dumps({**figures.serialize(), "meta": evaluator.meta}))
    return Metrics(
        mean_ap=figures.mean_ap,
        nds=figures.nd_score,
        errors=_errors(figures.tp_errors.__getitem__),
        classes={name: _class_metrics(evaluator, figures, name) for name in NUSCENES.names},
        summary=summary,
    )


def _check(nusc: "Tables", result_path: Path, tokens: list[str], classes: ClassList) -> None:
    """Raise DataError, in a sentence, for what the devkit would trip over."""
    if not tokens:
        raise DataError("no scene was chosen to evaluate; name at least one")
    results = read_results(result_path)
    absent = [token for token in tokens if token not in results]
    if absent:
        raise DataError(
            f"{result_path} has {len(tokens) - len(absent)} of {len(tokens)} samples; the first missing is "
            f"{absent[0]}; give every sample an entry, an empty list where nothing was detected"
        )
    crowded = [token for token in tokens if len(results[token]) > MAX_BOXES_PER_SAMPLE]
    if crowded:
        raise DataError(
            f"{result_path}: sample {crowded[0]} has more than {MAX_BOXES_PER_SAMPLE} boxes; keep its best ones"
        )
    check_ground_truth(nusc, tokens, classes)


def check_ground_truth(nusc: "Tables", sample_tokens: Sequence[str], classes: ClassList) -> None:
    """Raise DataError with the cause if no annotation of the samples counts: every score would be zero."""
    if reason := why_nothing_counts(nusc, sample_tokens, classes, metric_reach()):
        raise DataError(reason)


def _make_evaluator(nusc: "Tables", result_path: Path, tokens: list[str]) -> "DetectionEval":
    """The devkit's DetectionEval over the given samples. The class stands in here: the devkit is imported on use."""
    from nuscenes.eval.common.loaders import (
        filter_eval_boxes,
        load_gt_of_sample_tokens,
        load_prediction_of_sample_tokens,
    )
    from nuscenes.eval.detection.config import config_factory
    from nuscenes.eval.detection.data_classes import DetectionBox
    from nuscenes.eval.detection.evaluate import DetectionEval

    class SampleEval(DetectionEval):
        """DetectionEval whose constructor takes sample tokens in place of an official split's name."""

        def __init__(self) -> None:
            self.nusc, self.cfg, self.verbose = nusc, config_factory(CONFIGURATION), False
            predictions, self.meta = load_prediction_of_sample_tokens(
                str(result_path), self.cfg.max_boxes_per_sample, DetectionBox, sample_tokens=tokens
            )
            self.pred_boxes = self._filtered(predictions)
            self.gt_boxes = self._filtered(load_gt_of_sample_tokens(nusc, tokens, DetectionBox))
            self.sample_tokens = self.gt_boxes.sample_tokens

        def _filtered(self, boxes: "EvalBoxes") -> "EvalBoxes":
            _set_offsets(nusc, boxes)
            if not boxes.all:  # the devkit's filter raises where there is no box at all
                return boxes
            return filter_eval_boxes(nusc, boxes, self.cfg.class_range)

    return SampleEval()


def _set_offsets(nusc: "Tables", boxes: "EvalBoxes") -> None:
    """Give each box its offset from the ego, as the devkit does where the only LiDAR is LIDAR_TOP."""
    for token in boxes.sample_tokens:
        centre = range_centre(nusc, token)
        for box in boxes[token]:
            box.ego_translation = tuple(float(a - b) for a, b in zip(box.translation, centre, strict=True))


def _class_metrics(evaluator: "DetectionEval", figures: "DetectionMetrics", name: str) -> ClassMetrics:
    return ClassMetrics(
        ground_truths=sum(box.detection_name == name for box in evaluator.gt_boxes.all),
        detections=sum(box.detection_name == name for box in evaluator.pred_boxes.all),
        ap=float(figures.mean_dist_aps[name]),
        errors=_errors(partial(figures.get_label_tp, name)),
    )


def _errors(value: Callable[[str], float]) -> TruePositiveErrors:
    """Errors by the devkit's names for them."""
    return TruePositiveErrors(
        translation=float(value("trans_err")),
        scale=float(value("scale_err")),
        orientation=float(value("orient_err")),
        velocity=float(value("vel_err")),
        attribute=float(value("attr_err")),
    )
