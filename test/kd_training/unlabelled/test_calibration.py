"""Thresholds from judged answers of known precision; what cannot be calibrated, and thresholds of others."""

from dataclasses import replace

import numpy as np
import pytest

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_training.config.sections import PseudoConfig
from kd_training.unlabelled.calibration import (
    LEAST_TRUTHS,
    calibrate,
    default_thresholds,
    precision_and_recall,
    warnings_of,
)
from kd_training.unlabelled.judging import JudgedAnswers
from kd_training.unlabelled.thresholds import DEFAULT_CONFIDENT, NEVER, read_thresholds, write_thresholds

CAR, BUS, BARRIER = (CLASSES.index(name) for name in ("car", "bus", "barrier"))
CONFIG = PseudoConfig(precision=0.8, recall=0.9, tracked=2)


def judged(label: int, score: np.ndarray, true: np.ndarray, length: int, missed: int = 0) -> JudgedAnswers:
    """Answers of one class; every true one finds a box of its own, and some boxes are missed."""
    count = len(score)
    boxes = Boxes(
        np.zeros((count, 3)), np.ones((count, 3)), np.zeros(count), np.zeros((count, 2)), np.full(count, label), score
    )
    found_by = np.concatenate([np.flatnonzero(true), np.full(missed, -1)])
    error = np.where(true, 1.0, np.nan)
    return JudgedAnswers(
        boxes, np.full(count, length), true, error, 2.0 * error, np.full(len(found_by), label), found_by
    )


def together(*parts: JudgedAnswers) -> JudgedAnswers:
    offsets = np.cumsum([0, *(len(part.boxes) for part in parts)])
    found = [
        np.where(part.found_by < 0, -1, part.found_by + offset) for part, offset in zip(parts, offsets, strict=False)
    ]
    names = ("length", "true", "teacher_error", "track_error", "truth_label")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return JudgedAnswers(Boxes.concatenate([part.boxes for part in parts]), **arrays, found_by=np.concatenate(found))


def graded(count: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Scores from .99 down; the upper half is true, of the lower half every other one."""
    index = np.arange(count)
    return 0.99 - 0.009 * index, (index < count // 2) | (index % 2 == 0)


def bound(hits: int, count: int) -> float:
    """The share p whose chance of as many hits is one standard error away: p + sqrt(p (1 - p) / n) = hits / n."""
    shares = np.linspace(0.0, 1.0, 100_001)
    return shares[np.abs(shares + np.sqrt(shares * (1.0 - shares) / count) - hits / count).argmin()]


def test_thresholds_are_the_lowest_that_are_precise_enough():
    score, true = graded()
    thresholds = calibrate(judged(CAR, score, true, length=2, missed=25), "t", CONFIG)
    entry = thresholds.classes["car"]
    last = max(k for k in range(10, 101) if bound(true[:k].sum(), k) >= 0.8)
    assert true[:last].mean() > 0.8 + 0.9 * (0.8 * 0.2 / last) ** 0.5
    assert entry.confident == pytest.approx(score[last - 1]) and entry.sure == NEVER
    assert entry.precision == pytest.approx(true[:last].mean()) and entry.precision >= 0.8
    assert entry.recall == pytest.approx(true[:last].sum() / (true.sum() + 25))
    found = np.sort(score[true])
    assert entry.low == pytest.approx(min(found[int(0.1 * (len(found) - 1))], entry.confident))
    assert (entry.truths, entry.answers, entry.note) == (100, 100, "")


def test_boxes_without_a_track_have_a_threshold_of_their_own():
    score, true = graded()
    rarer = (np.arange(100) < 30) | (np.arange(100) % 4 == 0)
    both = together(judged(CAR, score, true, length=2), judged(CAR, score, rarer, length=1))
    thresholds = calibrate(both, "t", CONFIG)
    entry = thresholds.classes["car"]
    assert entry.confident < entry.sure < NEVER
    accepted = thresholds.accepts(both.boxes, both.length)
    middle = (both.boxes.score > entry.confident) & (both.boxes.score < entry.sure)
    assert accepted[middle & (both.length == 2)].all() and not accepted[middle & (both.length == 1)].any()


def test_what_the_teacher_never_learnt_is_in_doubt_and_few_labels_give_defaults():
    score, true = graded()
    few = slice(0, LEAST_TRUTHS - 1)
    answers = together(
        judged(CAR, score, true, 2),
        judged(BUS, score, np.arange(100) % 3 == 0, 2),
        judged(BARRIER, score[few], true[few], 2),
    )
    thresholds = calibrate(answers, "t", CONFIG)
    assert thresholds.trusted[CAR] and thresholds.trusted[BARRIER]
    assert not thresholds.trusted[BUS]
    assert not any(thresholds.trusted[CLASSES.index(name)] for name in ("truck", "pedestrian"))
    assert thresholds.classes["barrier"].confident == DEFAULT_CONFIDENT
    sentences = " | ".join(warnings_of(thresholds))
    assert "bus: no score makes 80% of the teacher's boxes true" in sentences
    assert f"barrier: fewer than {LEAST_TRUTHS} labelled boxes" in sentences
    assert "pedestrian, traffic_cone: no labelled scene has one" in sentences


def test_a_velocity_is_the_better_ones():
    score, true = graded()
    answers = judged(CAR, score, true, 2)
    assert not calibrate(answers, "t", CONFIG).classes["car"].velocity_from_track
    swapped = replace(answers, teacher_error=answers.track_error, track_error=answers.teacher_error)
    assert calibrate(swapped, "t", CONFIG).classes["car"].velocity_from_track


def test_without_labels_or_answers_there_are_no_figures():
    nothing = judged(CAR, np.zeros(0), np.zeros(0, bool), 2, missed=3)
    assert precision_and_recall(nothing, CAR, np.zeros(0, bool)) == (None, 0.0)
    assert precision_and_recall(nothing, BUS, np.zeros(0, bool)) == (None, None)
    assert default_thresholds("t", NUSCENES, 2).trusted.all()


def test_a_file_of_thresholds_says_whose_they_are(tmp_path):
    score, true = graded()
    thresholds, path = calibrate(judged(CAR, score, true, 2), "teacher one", CONFIG), tmp_path / "thresholds.json"
    write_thresholds(path, thresholds)
    assert read_thresholds(path, "teacher one", NUSCENES) == thresholds
    with pytest.raises(ConfigError, match="thresholds of another teacher .*calibrate again"):
        read_thresholds(path, "teacher two", NUSCENES)
    path.write_text('{"teacher": 3}')
    with pytest.raises(DataError, match="holds no thresholds"):
        read_thresholds(path, "teacher one", NUSCENES)
    with pytest.raises(DataError, match="absent.json holds no thresholds"):
        read_thresholds(tmp_path / "absent.json", "teacher one", NUSCENES)
