"""The nuScenes metric's definitions (arXiv:1903.11027, section 3.1) for any classes: AP, true positives' errors, NDS.

On nuScenes' own classes the figures are nuscenes-devkit's (a test compares them).

An error that no class defines (attributes, where no class has any) is left out of NDS, and the rest weighs the more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList, ObjectClass

DISTANCES = (0.5, 1.0, 2.0, 4.0)  # metres between centres on the ground, below which a detection is a match
ERROR_DISTANCE = 2.0  # the match whose errors count
LEAST_RECALL, LEAST_PRECISION = 0.1, 0.1
RECALLS = np.linspace(0.0, 1.0, 101)
AP_WEIGHT = 5.0
UNMATCHED_ERROR = 1.0


@dataclass(frozen=True)
class TruePositiveErrors:
    """Mean errors of matched boxes; NaN where the metric defines none, 1 where nothing matched."""

    translation: float  # metres
    scale: float  # 1 - IoU
    orientation: float  # radians
    velocity: float  # metres per second
    attribute: float  # 1 - accuracy


ERRORS = tuple(field.name for field in fields(TruePositiveErrors))


@dataclass(frozen=True)
class ScoredSample:
    """A sample's boxes in one level frame, after the metric's filters, with an attribute ('' for none) each."""

    ground_truth: Boxes
    ground_truth_attributes: Sequence[str]
    predictions: Boxes
    prediction_attributes: Sequence[str]


@dataclass(frozen=True)
class ClassScore:
    """One class: AP at each of DISTANCES, and errors."""

    ground_truths: int
    detections: int
    aps: tuple[float, ...]
    errors: TruePositiveErrors

    @property
    def ap(self) -> float:
        """Mean over DISTANCES."""
        return float(np.mean(self.aps))


@dataclass(frozen=True)
class Scores:
    """Figures by class name, and their means."""

    classes: dict[str, ClassScore]
    mean_ap: float
    errors: TruePositiveErrors
    nds: float


def score_samples(samples: Sequence[ScoredSample], classes: ClassList) -> Scores:
    """The metric over all samples; a class without ground truth has AP 0 and errors of 1, as in nuscenes-devkit."""
    found = {kind.name: _score_class(samples, label, kind) for label, kind in enumerate(classes.classes)}
    mean_ap = float(np.mean([score.ap for score in found.values()]))
    means = {name: mean_of_known([getattr(score.errors, name) for score in found.values()]) for name in ERRORS}
    defined = [max(0.0, 1.0 - value) for value in means.values() if np.isfinite(value)]
    nds = (AP_WEIGHT * mean_ap + sum(defined)) / (AP_WEIGHT + len(defined))
    return Scores(found, mean_ap, TruePositiveErrors(**means), nds)


@dataclass(frozen=True)
class _ClassBoxes:
    """One class's boxes of all samples: arrays of N detections, best score first, and of T ground-truth boxes."""

    predictions: Boxes
    prediction_sample: np.ndarray  # (N,)
    prediction_attribute: np.ndarray  # (N,) str
    ground_truth: Boxes
    ground_truth_sample: np.ndarray  # (T,)
    ground_truth_attribute: np.ndarray  # (T,) str


def _score_class(samples: Sequence[ScoredSample], label: int, kind: ObjectClass) -> ClassScore:
    chosen = _class_boxes(samples, label)
    matches = {distance: _match(chosen, distance) for distance in DISTANCES}
    total = len(chosen.ground_truth)
    aps = tuple(_average_precision(match >= 0, total) for match in matches.values())
    errors = _true_positive_errors(MatchedClass(chosen, matches[ERROR_DISTANCE]), kind)
    return ClassScore(total, len(chosen.predictions), aps, errors)


def _class_boxes(samples: Sequence[ScoredSample], label: int) -> _ClassBoxes:
    predicted = [np.flatnonzero(sample.predictions.label == label) for sample in samples]
    annotated = [np.flatnonzero(sample.ground_truth.label == label) for sample in samples]
    predictions = Boxes.concatenate([s.predictions[i] for s, i in zip(samples, predicted, strict=True)])
    attributes = [s.prediction_attributes[k] for s, i in zip(samples, predicted, strict=True) for k in i]
    order = np.lexsort((np.arange(len(predictions)), predictions.score))[::-1]  # of equal scores the last comes first
    return _ClassBoxes(
        predictions[order],
        np.repeat(np.arange(len(samples)), list(map(len, predicted)))[order],
        np.array(attributes, dtype=str)[order],
        Boxes.concatenate([s.ground_truth[i] for s, i in zip(samples, annotated, strict=True)]),
        np.repeat(np.arange(len(samples)), list(map(len, annotated))),
        np.array([s.ground_truth_attributes[k] for s, i in zip(samples, annotated, strict=True) for k in i], dtype=str),
    )


def _match(chosen: _ClassBoxes, distance: float) -> np.ndarray:
    """The ground-truth box (N,) that each detection takes, best score first: the nearest free one; -1 for none."""
    match = np.full(len(chosen.predictions), -1, dtype=np.int64)
    of_sample = {sample: np.flatnonzero(chosen.ground_truth_sample == sample)
                 for sample in np.unique(chosen.ground_truth_sample)}  # fmt: skip
    taken = np.zeros(len(chosen.ground_truth), dtype=bool)
    for index, sample in enumerate(chosen.prediction_sample):
        free = of_sample.get(sample, np.zeros(0, np.int64))
        free = free[~taken[free]]
        if not len(free):
            continue
        apart = np.linalg.norm(
            chosen.ground_truth.center[free, :2] - chosen.predictions.center[index, :2], axis=1
        )  # fmt: skip
        nearest = int(apart.argmin())
        if apart[nearest] < distance:
            match[index] = free[nearest]
            taken[free[nearest]] = True
    return match


def _average_precision(hits: np.ndarray, total: int) -> float:
    """Area of the precision over LEAST_PRECISION, beyond LEAST_RECALL, normalised; `hits` (N,) best score first."""
    if not hits.any():
        return 0.0
    found = np.cumsum(hits)
    precision = np.interp(RECALLS, found / total, found / np.arange(1, len(hits) + 1), right=0.0)
    beyond = precision[round(100 * LEAST_RECALL) + 1 :]
    return float(np.mean(np.maximum(beyond - LEAST_PRECISION, 0.0)) / (1.0 - LEAST_PRECISION))


@dataclass(frozen=True)
class MatchedClass:
    """One class's detections, best score first, and the ground-truth box (N,) that each takes, -1 for none."""

    boxes: _ClassBoxes
    match: np.ndarray

    @property
    def hits(self) -> np.ndarray:
        """Which detections (N,) are matched; M of them."""
        return self.match >= 0


def matched_class(samples: Sequence[ScoredSample], label: int, distance: float) -> MatchedClass:
    """The detections of one class, matched below a distance in metres."""
    chosen = _class_boxes(samples, label)
    return MatchedClass(chosen, _match(chosen, distance))


def mean_at_recalls(matched: MatchedClass, values: Mapping[str, np.ndarray]) -> dict[str, float] | None:
    """Values (M,) of the M matched pairs, by name, averaged over the recalls that the detections reach.

    None where they do not reach LEAST_RECALL.
    """
    hits = matched.hits
    if not hits.any():
        return None
    scores = matched.boxes.predictions.score
    reached = np.cumsum(hits) / len(matched.boxes.ground_truth)
    confidence = np.interp(RECALLS, reached, scores, right=0.0)
    first, last = round(100 * LEAST_RECALL) + 1, int(np.flatnonzero(confidence)[-1]) if confidence.any() else 0
    if last < first:
        return None
    found = {}
    for name, pairs in values.items():
        at_recall = np.interp(confidence[::-1], scores[hits][::-1], _running_mean(pairs)[::-1])[::-1]
        found[name] = float(np.mean(at_recall[first : last + 1]))
    return found


def yaw_errors(matched: MatchedClass, period: float) -> np.ndarray:
    """Radians (M,) between the headings of the matched pairs, which count modulo `period`."""
    predicted, annotated = np.flatnonzero(matched.hits), matched.match[matched.hits]
    turn = matched.boxes.ground_truth.yaw[annotated] - matched.boxes.predictions.yaw[predicted]
    return np.abs((turn + period / 2.0) % period - period / 2.0)


def _true_positive_errors(matched: MatchedClass, kind: ObjectClass) -> TruePositiveErrors:
    """Errors averaged over the recalls that the detections reach; NaN for those that the class does not define."""
    defined = {
        "orientation": kind.heading != "none",
        "velocity": kind.moves,
        "attribute": kind.moves and kind.has_attributes,
    }
    means = mean_at_recalls(matched, _pair_errors(matched, kind)) or dict.fromkeys(ERRORS, UNMATCHED_ERROR)
    return TruePositiveErrors(**{name: means[name] if defined.get(name, True) else np.nan for name in ERRORS})


def _pair_errors(matched: MatchedClass, kind: ObjectClass) -> dict[str, np.ndarray]:
    """Errors (M,) of the M matched pairs, by name."""
    chosen, predicted, annotated = matched.boxes, np.flatnonzero(matched.hits), matched.match[matched.hits]
    ours, theirs = chosen.predictions[predicted], chosen.ground_truth[annotated]
    common = np.minimum(ours.size, theirs.size).prod(axis=1)
    attribute, expected = chosen.prediction_attribute[predicted], chosen.ground_truth_attribute[annotated]
    return {
        "translation": np.linalg.norm(ours.center[:, :2] - theirs.center[:, :2], axis=1),
        "scale": 1.0 - common / (ours.size.prod(axis=1) + theirs.size.prod(axis=1) - common),
        "orientation": yaw_errors(matched, np.pi if kind.heading == "axis" else 2.0 * np.pi),
        "velocity": np.linalg.norm(ours.velocity - theirs.velocity, axis=1),
        "attribute": np.where(expected == "", np.nan, (attribute != expected).astype(float)),
    }


def _running_mean(values: np.ndarray) -> np.ndarray:
    """Mean of the values so far that are no NaN (M,); all 1 if all are NaN."""
    known = ~np.isnan(values)
    if not known.any():
        return np.full(len(values), UNMATCHED_ERROR)
    count = np.cumsum(known)
    return np.divide(np.nancumsum(values), count, out=np.zeros(len(values)), where=count > 0)


def mean_of_known(values: Sequence[float]) -> float:
    """Mean of the values that are no NaN; NaN if all are."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
