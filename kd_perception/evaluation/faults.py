"""Why a ground-truth box was missed and why a prediction is of nothing: a sentence for each, by simple geometry.

Matching is that of `kd compare` and of the metric: by class and by the distance of centres on the ground.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kd_perception.drawing.cameras import box_lines
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.matching import FOUND_M, Match, match
from kd_perception.recordings.viewed_frame import Fault, FaultKind


@dataclass(frozen=True, eq=False)
class Judged:
    """What explains the faults of one moment; all boxes in ego.

    detections: of all scores; threshold: from this score on they count; ground_truth (T) and its LiDAR and RADAR
    points (T,), -1 where unknown; uncounted: annotated boxes that the metric leaves out.
    """

    detections: Boxes
    threshold: float
    ground_truth: Boxes
    points: np.ndarray
    uncounted: Boxes
    cameras: Sequence[Camera]

    @cached_property
    def shown(self) -> Boxes:
        """The detections from the threshold on."""
        return self.detections[self.detections.score >= self.threshold]

    @cached_property
    def weak(self) -> Boxes:
        """The detections below the threshold."""
        return self.detections[self.detections.score < self.threshold]

    @cached_property
    def matched(self) -> Match:
        """Which ground truth the shown detections found."""
        return match(self.shown, self.ground_truth)

    def faults(self) -> Iterator[Fault]:
        """Every missed box and every shown detection of nothing, with its sentence."""
        for index in np.flatnonzero(~self.matched.found):
            box = self.ground_truth[index : index + 1]
            about = f"{_named(box)} was missed: {_why_missed(self, box)}"
            points = self.points[index] if self.points[index] >= 0 else "an unknown number of"
            where = f"{points} LiDAR and RADAR points; {_seen_by(box, self.cameras)}"
            yield Fault(FaultKind.MISSED, box, f"{about}; {where}")
        for index in np.flatnonzero(~self.matched.hits):
            box = self.shown[index : index + 1]
            reason = f"{_named(box)} of score {box.score[0]:.2f} is false: {_why_false(self, box)}"
            yield Fault(FaultKind.FALSE, box, reason)


def _why_missed(judged: Judged, box: Boxes) -> str:
    name, free = _class_of(box), judged.shown[~judged.matched.hits]
    if confused := _nearest(free[free.label != box.label[0]], box):
        return f"it was predicted as {confused.name} (score {confused.score:.2f}, {confused.metres:.1f} m away)"
    if weak := _nearest(judged.weak[judged.weak.label == box.label[0]], box):
        return (
            f"the {name} predicted {weak.metres:.1f} m away has a score of {weak.score:.2f}, below the threshold of "
            f"{judged.threshold:g}"
        )
    same = judged.shown[judged.shown.label == box.label[0]]
    if taken := _nearest(same, box):
        return f"the only {name} predicted near it, {taken.metres:.1f} m away, found another box"
    if far := _nearest(same, box, np.inf):
        return f"the nearest {name} predicted of score {far.score:.2f} is {far.metres:.1f} m away, beyond {FOUND_M:g} m"
    return f"no {name} is predicted anywhere from score {judged.threshold:g} on"


def _why_false(judged: Judged, box: Boxes) -> str:
    name, truth, found = _class_of(box), judged.ground_truth, judged.matched.found
    if confused := _nearest(truth[~found & (truth.label != box.label[0])], box):
        return f"the ground truth there, {confused.metres:.1f} m away, is a {confused.name}"
    same = truth[truth.label == box.label[0]]
    if double := _nearest(same, box):
        return f"the {name} {double.metres:.1f} m away was found by a prediction of a better score"
    if left_out := _nearest(judged.uncounted[judged.uncounted.label == box.label[0]], box):
        return (
            f"the {name} annotated {left_out.metres:.1f} m away does not count, because it has no LiDAR or RADAR point "
            "or is out of the metric's range"
        )
    if far := _nearest(same, box, np.inf):
        return f"the nearest {name} of the ground truth is {far.metres:.1f} m away, beyond {FOUND_M:g} m"
    return f"the ground truth has no {name} here"


@dataclass(frozen=True)
class _Neighbour:
    name: str
    score: float
    metres: float


def _nearest(boxes: Boxes, box: Boxes, within: float = FOUND_M) -> _Neighbour | None:
    """The box whose centre is nearest on the ground, if it is nearer than `within` metres."""
    if not len(boxes):
        return None
    metres = np.linalg.norm(boxes.center[:, :2] - box.center[0, :2], axis=1)
    best = int(metres.argmin())
    if not metres[best] < within:
        return None
    return _Neighbour(boxes.class_of(best).name, float(boxes.score[best]), float(metres[best]))


def _class_of(box: Boxes) -> str:
    return box.class_of(0).name


def _named(box: Boxes) -> str:
    x, y = box.center[0, :2]
    return f"{_class_of(box)} at x {x:.1f} m, y {y:.1f} m"


def _seen_by(box: Boxes, cameras: Sequence[Camera]) -> str:
    """Which camera shows most of a box, and how large."""
    sizes = [(camera.name, _pixels(box, camera)) for camera in cameras]
    name, (width, height) = max(sizes, key=lambda seen: seen[1][0] * seen[1][1], default=("", (0.0, 0.0)))
    if width * height <= 0.0:
        return "it is in no camera's picture"
    return f"{name} should see it, {width:.0f} x {height:.0f} pixels large"


def _pixels(box: Boxes, camera: Camera) -> tuple[float, float]:
    """Width and height of the part of a box's picture that is inside the image."""
    lines = box_lines(box.corners()[0], camera)
    if not lines:
        return 0.0, 0.0
    pixels = np.concatenate(lines)
    pixels = np.clip(pixels[np.isfinite(pixels).all(axis=1)], 0.0, [camera.width, camera.height])
    width, height = pixels.max(axis=0) - pixels.min(axis=0)
    return float(width), float(height)
