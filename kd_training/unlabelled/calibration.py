"""Calibration of a teacher's scores on labelled scenes: from which score on its boxes are true often enough."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from kd_perception.geometry.classes import ClassList
from kd_training.config.sections import PseudoConfig
from kd_training.unlabelled.answers import LEAST_SCORE
from kd_training.unlabelled.judging import JudgedAnswers
from kd_training.unlabelled.thresholds import (
    DEFAULT_CONFIDENT,
    DEFAULT_LOW,
    DEFAULT_SURE,
    NEVER,
    ClassThresholds,
    Thresholds,
)

LEAST_TRUTHS = 30  # true boxes of a class; with fewer its thresholds are the defaults
LEAST_BOXES = 10  # answers above a threshold, or it is luck


def default_thresholds(teacher: str, classes: ClassList, tracked: int) -> Thresholds:
    """Where no scene is labelled."""
    entry = _defaults("nothing is labelled to calibrate on")
    return Thresholds(teacher, tracked, dict.fromkeys(classes.names, entry))


def calibrate(judged: JudgedAnswers, teacher: str, config: PseudoConfig) -> Thresholds:
    """Thresholds of every class.

    `low` is the highest score from which on the teacher finds config.recall of what it finds at all. Among boxes that
    a track confirms, and among the others, `confident` and `sure` are the lowest scores from which on the share of true
    ones is at least config.precision, chance counted in.
    """
    classes = judged.boxes.classes
    found = {name: _calibrated(judged, label, config) for label, name in enumerate(classes.names)}
    thresholds = Thresholds(teacher, config.tracked, found)
    scored = {name: _scored(judged, label, thresholds) for label, name in enumerate(classes.names)}
    return replace(thresholds, classes=scored)


def precision_and_recall(judged: JudgedAnswers, label: int, chosen: np.ndarray) -> tuple[float | None, float | None]:
    """Of one class, if the boxes `chosen` (N,) bool are given out; None where there is nothing to divide by."""
    mine, truths = chosen & (judged.boxes.label == label), judged.truth_label == label
    precision = float(judged.true[mine].mean()) if mine.any() else None
    found = judged.found_by[truths]
    given = (found >= 0) & chosen[np.maximum(found, 0)] if len(chosen) else np.zeros(len(found), bool)
    return precision, float(given.mean()) if len(given) else None


def warnings_of(thresholds: Thresholds) -> Iterator[str]:
    """A sentence for each note, with the classes that it is about."""
    notes: dict[str, list[str]] = {}
    for name, entry in thresholds.classes.items():
        if entry.note:
            notes.setdefault(entry.note, []).append(name)
    for note, names in notes.items():
        yield f"{', '.join(names)}: {note}"


def _calibrated(judged: JudgedAnswers, label: int, config: PseudoConfig) -> ClassThresholds:
    mine = judged.boxes.label == label
    truths, answers = int((judged.truth_label == label).sum()), int(mine.sum())
    if not truths:
        note = "no labelled scene has one, so all of it is in doubt on unlabelled ones"
        return ClassThresholds(DEFAULT_LOW, NEVER, NEVER, truths=0, answers=answers, note=note)
    if truths < LEAST_TRUTHS:
        note = f"fewer than {LEAST_TRUTHS} labelled boxes, so the thresholds are the defaults"
        return replace(_defaults(note), truths=truths, answers=answers)
    confirmed = judged.length >= config.tracked
    score = judged.boxes.score
    confident, sure = (
        _least_score(score[part], judged.true[part], config.precision) for part in (mine & confirmed, mine & ~confirmed)
    )
    low = min(_low(judged, label, config.recall), confident, sure)
    note = "" if min(confident, sure) < NEVER else (
        f"no score makes {config.precision:.0%} of the teacher's boxes true: all of it is in doubt on unlabelled ones"
    )  # fmt: skip
    better = _track_is_better(judged, mine & confirmed & (score >= min(confident, 1.0)))
    return ClassThresholds(low, confident, sure, better, truths, answers, note=note)


def _defaults(note: str) -> ClassThresholds:
    return ClassThresholds(DEFAULT_LOW, DEFAULT_CONFIDENT, DEFAULT_SURE, note=note)


def _least_score(score: np.ndarray, true: np.ndarray, precision: float) -> float:
    """The lowest score from which on that share of the boxes (N,) is true, counting chance in: the lower bound of the
    share, at one standard error (Wilson, 1927), must reach it. NEVER if there is none."""
    order = np.argsort(-score, kind="stable")
    count = np.arange(1, len(order) + 1)
    share = np.cumsum(true[order]) / count
    bound = (share + 0.5 / count - np.sqrt(share * (1.0 - share) / count + 0.25 / count**2)) / (1.0 + 1.0 / count)
    enough = np.flatnonzero((bound >= precision) & (count >= LEAST_BOXES))
    return float(score[order][enough[-1]]) if len(enough) else NEVER


def _low(judged: JudgedAnswers, label: int, recall: float) -> float:
    """The score that a `recall` of the found boxes' scores reach; LEAST_SCORE if nothing was found."""
    found = judged.found_by[(judged.truth_label == label) & (judged.found_by >= 0)]
    scores = judged.boxes.score[found]
    return float(np.quantile(scores, 1.0 - recall, method="lower")) if len(scores) else LEAST_SCORE


def _track_is_better(judged: JudgedAnswers, chosen: np.ndarray) -> bool:
    """Whether tracks have the smaller mean error of the chosen boxes (N,), where both are known; yes where nothing
    is."""
    both = chosen & np.isfinite(judged.teacher_error) & np.isfinite(judged.track_error)
    return not both.any() or bool(judged.track_error[both].mean() <= judged.teacher_error[both].mean())


def _scored(judged: JudgedAnswers, label: int, thresholds: Thresholds) -> ClassThresholds:
    """The class's thresholds with what they reach."""
    entry = thresholds.classes[judged.boxes.classes.names[label]]
    precision, recall = precision_and_recall(judged, label, thresholds.accepts(judged.boxes, judged.length))
    return replace(entry, precision=precision, recall=recall)
