"""What student and teacher dispute in one frame: boxes missed, false, displaced, of another class, or barely agreed on.

The teacher is taken as right where it is sure, but only where both can look: in the picture of a camera and in the
directions that the cloud covers. What no camera can see is no miss of the student; what the LiDAR has not scanned is no
false box.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.matching import FOUND_M, match

DISPLACED_M = 1.0  # metres between centres on the ground from which an object is found in the wrong place ...
DISPLACED_MOST_M = 4.0  # ... up to the metric's greatest distance
AZIMUTHS = 120  # directions, 3 degrees each, by which the cloud's coverage is known
NEAREST_M = 1.5  # returns nearer than this are the robot's own


class DisputeKind(StrEnum):
    """What the student did with an object, as the teacher sees it."""

    MISSED = "missed"
    FALSE = "false"
    DISPLACED = "displaced"
    WRONG_CLASS = "wrong_class"
    LOW_AGREEMENT = "low_agreement"


@dataclass(frozen=True)
class VerdictThresholds:
    """student_score: from it on the student claims an object; teacher_score: from it on the teacher is taken as right,
    below it decides nothing; agreement: below it a matched pair is disputed (0 to 1, see `agreements`)."""

    student_score: float
    teacher_score: float
    agreement: float


@dataclass(frozen=True, eq=False)
class CommonView:
    """Where both can look, in base_link at the frame's time.

    cameras: those whose image the student used; covered (AZIMUTHS,) bool: directions that the cloud covers.
    """

    cameras: Sequence[Camera]
    covered: np.ndarray

    def holds(self, boxes: Boxes) -> np.ndarray:
        """Which boxes (N,) both can see: the centre in a picture and a covered direction, within the class's range."""
        seen = np.zeros(len(boxes), bool)
        for camera in self.cameras:
            seen |= camera.project(boxes.center)[2]
        near = np.linalg.norm(boxes.center[:, :2], axis=1) < boxes.classes.ranges[boxes.label]
        return seen & near & self.covered[_azimuth(boxes.center)]

    @cached_property
    def overlaps(self) -> bool:
        """Whether there is a direction that both cover, at some distance and height."""
        turns = 2.0 * np.pi * (np.arange(AZIMUTHS) + 0.5) / AZIMUTHS
        for distance, height in ((5.0, 0.5), (15.0, 0.5), (30.0, 1.0)):
            ring = np.column_stack([distance * np.cos(turns), distance * np.sin(turns), np.full(AZIMUTHS, height)])
            if any((camera.project(ring)[2] & self.covered).any() for camera in self.cameras):
                return True
        return False


def covered_azimuths(points: np.ndarray) -> np.ndarray:
    """Directions (AZIMUTHS,) bool in which a cloud (N, 3) in base_link has returns, the robot's own left out."""
    far = points[np.hypot(points[:, 0], points[:, 1]) > NEAREST_M]
    return np.bincount(_azimuth(far), minlength=AZIMUTHS) > 0


@dataclass(frozen=True, eq=False)
class Dispute:
    """One disputed box: of the teacher, or of the student where it is false. center (3,) in base_link at the frame's
    time; doubt: how much is to be learnt from it, 0 to 1; why: for people."""

    kind: DisputeKind
    class_name: str
    center: np.ndarray
    doubt: float
    why: str


@dataclass(frozen=True)
class FrameVerdict:
    """What was disputed in a frame; classes: the teacher's sure boxes in view by class; compared: boxes of both sides
    in view, 0 where they have no view in common."""

    disputes: tuple[Dispute, ...]
    classes: dict[str, int]
    compared: int

    @cached_property
    def counts(self) -> dict[str, int]:
        """Disputed boxes by kind, all kinds."""
        found = Counter(dispute.kind for dispute in self.disputes)
        return {kind.value: found[kind] for kind in DisputeKind}

    @cached_property
    def doubts(self) -> dict[str, float]:
        """Sum of the doubts by class."""
        sums: Counter[str] = Counter()
        for dispute in self.disputes:
            sums[dispute.class_name] += dispute.doubt
        return dict(sums)


def moved_to(boxes: Boxes, target_from_source: np.ndarray, seconds: float) -> Boxes:
    """Boxes of another time, which is `seconds` before the wanted one, in base_link at that time.

    `target_from_source` (4, 4) is the robot's own motion; objects move by their velocity, where it is known.
    """
    moved = boxes.transformed(target_from_source)
    steps = np.nan_to_num(moved.velocity) * seconds
    return replace(moved, center=moved.center + np.column_stack([steps, np.zeros(len(moved))]))


def judge(student: Boxes, teacher: Boxes, view: CommonView, thresholds: VerdictThresholds) -> FrameVerdict:
    """Compare both sides' boxes of one class list, in base_link at one time."""
    claimed = student[student.score >= thresholds.student_score]
    sure = teacher[teacher.score >= thresholds.teacher_score]
    pairs = match(claimed, sure)
    in_view, claims_in_view = view.holds(sure), view.holds(claimed)
    loose = ~pairs.hits  # claims that explain nothing yet
    disputes: list[Dispute] = []
    for index in np.flatnonzero(~pairs.found & in_view):
        dispute, used = _of_unmatched(sure[index : index + 1], claimed, loose, student)
        disputes.append(dispute)
        if used is not None:
            loose[used] = False
    for index in np.flatnonzero(pairs.hits):
        true = pairs.partner[index]
        if in_view[true]:
            disputes += _of_pair(claimed[index : index + 1], sure[true : true + 1], thresholds)
    for index in np.flatnonzero(loose & claims_in_view):
        disputes += _of_loose(claimed[index : index + 1], teacher)
    names = Counter(sure.class_of(index).name for index in np.flatnonzero(in_view))
    return FrameVerdict(tuple(disputes), dict(names), int(in_view.sum() + claims_in_view.sum()))


def agreements(first: Boxes, second: Boxes) -> np.ndarray:
    """How well N pairs of one class agree, 0 to 1: the product of their agreement in place, size, heading and score.

    Place: 1 - distance / FOUND_M; size: IoU of the aligned boxes; heading: (1 + cos) / 2, modulo half a turn where the
    class has only an axis; score: the first's over the second's, at most 1.
    """
    apart = np.linalg.norm(first.center[:, :2] - second.center[:, :2], axis=1)
    common = np.minimum(first.size, second.size).prod(axis=1)
    iou = common / (first.size.prod(axis=1) + second.size.prod(axis=1) - common)
    headings = np.array([first.class_of(index).heading for index in range(len(first))], dtype=str)
    turns = np.where(headings == "axis", 2.0, 1.0) * (first.yaw - second.yaw)
    heading = np.where(headings == "none", 1.0, (1.0 + np.cos(turns)) / 2.0)
    score = np.minimum(1.0, first.score / np.maximum(second.score, 1e-6))
    return np.clip(1.0 - apart / FOUND_M, 0.0, 1.0) * iou * heading * score


def _of_unmatched(true: Boxes, claimed: Boxes, loose: np.ndarray, student: Boxes) -> tuple[Dispute, int | None]:
    """Why a sure box was not found, and the loose claim that explains it."""
    name, score = true.class_of(0).name, float(true.score[0])
    apart = _apart(claimed, true)
    same = claimed.label == true.label[0]
    if (other := _nearest(apart, loose & ~same, FOUND_M)) is not None:
        claim = claimed.class_of(other).name
        why = f"a {name} ({score:.2f}) is taken for a {claim} ({claimed.score[other]:.2f})"
        return _dispute(DisputeKind.WRONG_CLASS, true, max(score, float(claimed.score[other])), why), other
    if (other := _nearest(apart, loose & same, DISPLACED_MOST_M)) is not None:
        why = f"a {name} ({score:.2f}) is {apart[other]:.1f} m from where the student puts it"
        return _dispute(DisputeKind.DISPLACED, true, score * apart[other] / DISPLACED_MOST_M, why), other
    weak = _apart(student, true)
    found = student.score[(student.label == true.label[0]) & (weak < FOUND_M)]
    guess = float(found.max(initial=0.0))
    why = f"a {name} ({score:.2f}) is missed, {np.linalg.norm(true.center[0, :2]):.0f} m away"
    return _dispute(DisputeKind.MISSED, true, max(score - guess, 0.0), why), None


def _of_pair(claim: Boxes, true: Boxes, thresholds: VerdictThresholds) -> list[Dispute]:
    name, score = true.class_of(0).name, float(true.score[0])
    apart, agreement = float(_apart(claim, true)[0]), float(agreements(claim, true)[0])
    if apart >= DISPLACED_M:
        why = f"a {name} ({score:.2f}) is {apart:.1f} m from where the student puts it"
        return [_dispute(DisputeKind.DISPLACED, true, score * apart / DISPLACED_MOST_M, why)]
    if agreement < thresholds.agreement:
        why = f"both see a {name}, but agree by {agreement:.2f} only (scores {claim.score[0]:.2f} and {score:.2f})"
        return [_dispute(DisputeKind.LOW_AGREEMENT, true, score * (1.0 - agreement), why)]
    return []


def _of_loose(claim: Boxes, teacher: Boxes) -> list[Dispute]:
    """A claim of nothing is false, unless the teacher has an unsure box there: then nobody knows."""
    if (_apart(teacher, claim) < FOUND_M).any():
        return []
    name, score = claim.class_of(0).name, float(claim.score[0])
    return [_dispute(DisputeKind.FALSE, claim, score, f"a {name} ({score:.2f}) is seen where the teacher sees nothing")]


def _dispute(kind: DisputeKind, box: Boxes, doubt: float, why: str) -> Dispute:
    return Dispute(kind, box.class_of(0).name, box.center[0], float(doubt), why)


def _apart(boxes: Boxes, one: Boxes) -> np.ndarray:
    """Metres (N,) on the ground from boxes to one box."""
    return np.linalg.norm(boxes.center[:, :2] - one.center[0, :2], axis=1)


def _nearest(apart: np.ndarray, allowed: np.ndarray, within: float) -> int | None:
    near = np.where(allowed, apart, np.inf)
    return int(near.argmin()) if len(near) and near.min() < within else None


def _azimuth(points: np.ndarray) -> np.ndarray:
    """Direction (N,) of points (N, 3), 0 to AZIMUTHS - 1."""
    turn = np.arctan2(points[:, 1], points[:, 0]) / (2.0 * np.pi) % 1.0
    return np.minimum((turn * AZIMUTHS).astype(np.int64), AZIMUTHS - 1)
