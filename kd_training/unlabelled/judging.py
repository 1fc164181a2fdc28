"""A teacher's answers on labelled scenes against their labels: which boxes are true, which true ones it found.

A box is true if it finds a box of its class within 2 m, by the metric's matching (arXiv:1903.11027).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from kd_perception.datasets.nuscenes import ground_truth_boxes
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.matching import match
from kd_training.data.frames import Dataset
from kd_training.unlabelled.answers import KeyframeAnswer, SceneAnswers
from kd_training.unlabelled.tracks import TrackedBoxes, track


@dataclass(frozen=True)
class JudgedAnswers:
    """N boxes of labelled keyframes, each in its own ego: how many keyframes their tracks have (N,), whether they are
    true (N,), and the errors of their velocities (N,), metres per second, by the teacher and by the track, NaN where
    nobody knows.

    Of T true boxes that a cloud shows on the grid: label (T,), and the box that found each (T,), -1 for none.
    """

    boxes: Boxes
    length: np.ndarray
    true: np.ndarray
    teacher_error: np.ndarray
    track_error: np.ndarray
    truth_label: np.ndarray
    found_by: np.ndarray


def tracks_of(answers: SceneAnswers) -> list[TrackedBoxes]:
    """The tracks through a scene's answers."""
    keyframes = [entry.boxes.transformed(entry.global_from_ego) for entry in answers.keyframes]
    return track(keyframes, [entry.stamp_us for entry in answers.keyframes])


def judge(scenes: Iterable[tuple[Dataset, SceneAnswers]], classes: ClassList) -> JudgedAnswers:
    """Compare the answers on scenes with the labels of their data sets, which this reads."""
    parts = [
        _judge_keyframe(dataset, answers, entry, tracked)
        for dataset, answers in scenes
        for entry, tracked in zip(answers.keyframes, tracks_of(answers), strict=True)
    ]
    offsets = np.cumsum([0, *(len(part.boxes) for part in parts)])
    found_by = [np.where(part.found_by < 0, -1, part.found_by + offset)
                for part, offset in zip(parts, offsets[:-1], strict=True)]  # fmt: skip

    def joined(name: str, kind: type) -> np.ndarray:
        return np.concatenate([np.zeros(0, kind), *(getattr(part, name) for part in parts)])

    return JudgedAnswers(
        Boxes.concatenate([part.boxes for part in parts], classes),
        joined("length", np.int64),
        joined("true", bool),
        joined("teacher_error", float),
        joined("track_error", float),
        joined("truth_label", np.int64),
        np.concatenate([np.zeros(0, np.int64), *found_by]),
    )


def _judge_keyframe(
    dataset: Dataset, answers: SceneAnswers, entry: KeyframeAnswer, tracked: TrackedBoxes
) -> JudgedAnswers:
    truth, points = ground_truth_boxes(dataset.nusc, entry.sample, entry.global_from_ego, dataset.classes)
    matched = match(entry.boxes, truth)
    known = np.full((len(entry.boxes), 2), np.nan)
    known[matched.hits] = truth.velocity[matched.partner[matched.hits]]
    found_by = np.full(len(truth), -1)
    found_by[matched.partner[matched.hits]] = np.flatnonzero(matched.hits)
    in_ego = tracked.velocity @ entry.global_from_ego[:2, :2]
    seen = (points != 0) & answers.grid.holds(truth.center[:, :2])
    return JudgedAnswers(
        entry.boxes,
        tracked.length,
        matched.hits,
        np.linalg.norm(entry.boxes.velocity - known, axis=1),
        np.linalg.norm(in_ego - known, axis=1),
        truth.label[seen],
        found_by[seen],
    )
