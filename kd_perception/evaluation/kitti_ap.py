"""KITTI's average precision, as the benchmark's own evaluation computes it (Geiger et al., CVPR 2012).

40 recall points (Simonelli et al., ICCV 2019). Three levels of difficulty choose the objects that count by their height
in the picture, occlusion and truncation. Others of the class, and those of a neighbouring class, are ignored: whoever
finds them neither gains nor loses. The same holds for detections that are too low in the picture. Regions marked
DontCare excuse false detections in the picture; they have no place in space, and none in BEV and 3D.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.datasets.kitti_labels import DONT_CARE, KittiObject
from kd_perception.evaluation.kitti_overlap import MEASURES, KittiColumns, overlaps, share_covered

RECALL_POINTS = 40
COUNTS, IGNORED, FOREIGN = 0, 1, -1  # what a row is to one class and level


@dataclass(frozen=True)
class KittiLevel:
    """A level of difficulty: objects count that are higher than `height` pixels and within the other two limits."""

    name: str
    height: float
    occluded: int
    truncated: float


@dataclass(frozen=True)
class KittiClass:
    """A class of the benchmark: the IoU above which a box is found, and the classes that are like it."""

    name: str
    overlap: float
    neighbours: tuple[str, ...] = ()


LEVELS = (KittiLevel("easy", 40, 0, 0.15), KittiLevel("moderate", 25, 1, 0.30), KittiLevel("hard", 25, 2, 0.50))
CLASSES = (
    KittiClass("Car", 0.7, ("Van",)),
    KittiClass("Pedestrian", 0.5, ("Person_sitting",)),
    KittiClass("Cyclist", 0.5),
)


@dataclass(frozen=True)
class LevelScore:
    """AP in percent, NaN without objects, and how many objects count."""

    ap: float
    objects: int

    @property
    def attainable(self) -> float:
        """The highest AP that so few objects allow: each gives one recall point at most, and the first is left out."""
        return 100.0 * min(max(self.objects - 1, 0), RECALL_POINTS) / RECALL_POINTS


@dataclass(frozen=True)
class KittiScore:
    """One class by one measure, one entry a level of LEVELS."""

    kind: KittiClass
    measure: str
    levels: tuple[LevelScore, ...]


class ScoredKittiFrame:
    """Labels and detections of one frame, with their overlaps."""

    def __init__(self, labels: Sequence[KittiObject], detections: Sequence[KittiObject]) -> None:
        regions = KittiColumns.of([row for row in labels if row.kind == DONT_CARE])
        self.labels = KittiColumns.of([row for row in labels if row.kind != DONT_CARE])
        self.detections = KittiColumns.of(detections)
        self.overlaps = overlaps(self.detections, self.labels)
        self.excused = share_covered(self.detections.box, regions.box)  # (D,)


def kitti_ap(frames: Sequence[ScoredKittiFrame]) -> list[KittiScore]:
    """AP of every class by every measure and level, over all frames together."""
    return [
        KittiScore(kind, measure, tuple(_level_score(frames, kind, level, measure) for level in LEVELS))
        for kind in CLASSES
        for measure in MEASURES
    ]


@dataclass(frozen=True, eq=False)
class _Contest:
    """What one frame is to a class, level and measure; rows that are foreign to them are left out.

    overlap (D, G); score (D,); excused (D,) bool; counts (D,) and wanted (G,) bool: which are not ignored.
    """

    overlap: np.ndarray
    score: np.ndarray
    excused: np.ndarray
    counts: np.ndarray
    wanted: np.ndarray

    def found_scores(self) -> list[float]:
        """Scores of true positives where each label, in turn, takes the free detection of the best score."""
        free, found = np.ones(len(self.score), bool), []
        for label, wanted in enumerate(self.wanted):
            near = free & (self.overlap[:, label] > 0.0)
            if not near.any():
                continue
            best = np.where(near, self.score, -np.inf).argmax()
            free[best] = False
            if wanted and self.counts[best]:
                found.append(self.score[best])
        return found

    def count(self, thresholds: np.ndarray) -> np.ndarray:
        """True and false positives (2, T) of the detections from each threshold (T,) on.

        Each label, in turn, takes the free detection that overlaps most; an ignored one only where no other does.
        """
        left = self.score >= thresholds[:, None]  # (T, D)
        found = np.zeros(len(thresholds), np.int64)
        for label, wanted in enumerate(self.wanted):
            near = left & (self.overlap[:, label] > 0.0)
            if not near.any():
                continue
            counting = near & self.counts
            most = np.where(counting, self.overlap[:, label], -1.0).argmax(axis=1)
            chosen = np.where(counting.any(axis=1), most, near.argmax(axis=1))
            rows = np.flatnonzero(near.any(axis=1))
            left[rows, chosen[rows]] = False
            found += counting.any(axis=1) & wanted
        return np.stack([found, (left & self.counts & ~self.excused).sum(axis=1)])


def _level_score(frames: Sequence[ScoredKittiFrame], kind: KittiClass, level: KittiLevel, measure: str) -> LevelScore:
    contests = [_contest(frame, kind, level, measure) for frame in frames]
    objects = sum(int(contest.wanted.sum()) for contest in contests)
    if not objects:
        return LevelScore(np.nan, 0)
    found = [score for contest in contests for score in contest.found_scores()]
    thresholds = _thresholds(np.array(found), objects)
    true, false = sum((contest.count(thresholds) for contest in contests), np.zeros((2, len(thresholds)), np.int64))
    precision = np.zeros(RECALL_POINTS + 1)
    precision[: len(thresholds)] = true / np.maximum(true + false, 1)
    best_from_here_on = np.maximum.accumulate(precision[::-1])[::-1]
    return LevelScore(100.0 * float(best_from_here_on[1:].mean()), objects)


def _contest(frame: ScoredKittiFrame, kind: KittiClass, level: KittiLevel, measure: str) -> _Contest:
    roles, wanted = _detection_roles(frame.detections, kind, level), _label_roles(frame.labels, kind, level)
    taking_part, labelled = roles != FOREIGN, wanted != FOREIGN
    overlap = frame.overlaps[measure][np.ix_(taking_part, labelled)]
    excused = (frame.excused > kind.overlap) & (measure == "2D")
    return _Contest(
        np.where(overlap > kind.overlap, overlap, 0.0),
        frame.detections.score[taking_part],
        excused[taking_part],
        roles[taking_part] == COUNTS,
        wanted[labelled] == COUNTS,
    )


def _label_roles(labels: KittiColumns, kind: KittiClass, level: KittiLevel) -> np.ndarray:
    own = labels.kind == kind.name
    hard = (
        (labels.occluded > level.occluded)
        | (labels.truncated > level.truncated)
        | (labels.box[:, 3] - labels.box[:, 1] <= level.height)
    )
    like = np.isin(labels.kind.astype(str), kind.neighbours)
    return np.where(own & ~hard, COUNTS, np.where(own | like, IGNORED, FOREIGN))


def _detection_roles(detections: KittiColumns, kind: KittiClass, level: KittiLevel) -> np.ndarray:
    """A low detection is ignored whatever its class: the benchmark's own code does not ask for the class first."""
    low = np.abs(detections.box[:, 3] - detections.box[:, 1]) < level.height
    return np.where(low, IGNORED, np.where(detections.kind == kind.name, COUNTS, FOREIGN))


def _thresholds(scores: np.ndarray, objects: int) -> np.ndarray:
    """Of the true positives' scores those, best first, whose recalls lie nearest to 0, 1/40, 2/40 ..."""
    chosen, wanted = [], 0.0
    scores = np.sort(scores)[::-1]
    for index, score in enumerate(scores):
        here, after = (index + 1) / objects, (index + 2) / objects
        if index < len(scores) - 1 and after - wanted < wanted - here:
            continue
        chosen.append(score)
        wanted += 1.0 / RECALL_POINTS
    return np.array(chosen[: RECALL_POINTS + 1])
