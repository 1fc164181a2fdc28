"""Which frames are worth their bytes: disputed ones of rare classes, no two alike, the least useful leaving first.

importance  sum of the doubts of a frame's disputes (continual.verdicts)
rarity      of a class: 1 / its share of the kept frames' objects, relative to equal shares of all classes
usefulness  sum over classes of doubt x rarity, with the rarity that classes have now: what is common by now leaves
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from kd_perception.bags.frame_file import RecordedMessage, mcap_bytes, part_of
from kd_perception.continual.recording import KeptFrame, frame_name
from kd_perception.continual.recording_folder import RecordingFolder
from kd_perception.continual.verdicts import Dispute, FrameVerdict
from kd_perception.geometry.transforms import invert, yaw_of

RAREST, COMMONEST = 10.0, 0.1  # bounds of a class's rarity
SAME_OBJECT_M = 2.0  # disputes of one kind and class no further apart are about one object
TURNED_RAD = 0.2
SAME_SHARE = 0.5  # of the disputes, from which on two frames show the same
MOST_NAMED = 3  # disputes in the sentence why


class Decided(StrEnum):
    """What became of a frame; the value is its counter in diagnostics."""

    KEPT = "frames_kept"
    AGREED = "frames_agreed"
    SOON_AFTER = "frames_too_soon"
    ALIKE = "frames_alike"
    LESS_USEFUL = "frames_less_useful"
    TOO_LARGE = "frames_too_large"


@dataclass(frozen=True)
class KeepingRules:
    """least_importance: below it a frame is not worth keeping; interval_s: least time between kept frames; place_m: how
    far the robot must have moved, unless it turned by TURNED_RAD, for the same disputes to count again."""

    least_importance: float
    interval_s: float
    place_m: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """A frame that may be kept. odom_from_base (4, 4), None where unknown: it is then compared as if standing still;
    messages: gathers its messages once it is wanted; at least one; odometry: number of the stretch without jumps to
    which the pose belongs, places of others cannot be compared."""

    stamp_ns: int
    verdict: FrameVerdict
    odom_from_base: np.ndarray | None
    messages: Callable[[], Sequence[RecordedMessage]]
    odometry: int = 0


@dataclass(frozen=True)
class Decision:
    """What became of a candidate, and which frames had to go for it."""

    decided: Decided
    frame: KeptFrame | None = None
    evicted: tuple[KeptFrame, ...] = ()


@dataclass(frozen=True)
class ClassRarities:
    """How rare classes are among kept frames: `known` by name, `unseen` for all others; 1 where shares are equal."""

    known: dict[str, float]
    unseen: float

    @staticmethod
    def among(frames: Sequence[KeptFrame], class_count: int) -> "ClassRarities":
        """The rarities of `class_count` classes by the objects of these frames."""
        objects: Counter[str] = Counter()
        for frame in frames:
            objects.update(frame.classes)

        def rarity(count: int) -> float:
            ratio = (objects.total() + class_count) / (class_count * (count + 1))
            return min(max(ratio, COMMONEST), RAREST)

        return ClassRarities({name: rarity(count) for name, count in objects.items()}, rarity(0))

    def usefulness(self, doubts: Mapping[str, float]) -> float:
        """Sum over classes of doubt x rarity."""
        return sum(doubt * self.known.get(name, self.unseen) for name, doubt in doubts.items())


@dataclass(frozen=True, eq=False)
class _Shown:
    """Where a kept frame was taken since the recorder runs, and its disputes with their place in odom (N, 3)."""

    odometry: int
    odom_from_base: np.ndarray | None
    disputes: tuple[Dispute, ...]
    places: np.ndarray


class FrameKeeper:
    """Decides on candidates one after the other, and writes those it keeps. Belongs to one thread."""

    def __init__(self, folder: RecordingFolder, rules: KeepingRules, class_count: int) -> None:
        """Frames leave until the folder's budget holds. class_count: classes that student and teacher have in common.

        Raises DataError if the disk refuses.
        """
        self._folder, self._rules, self._class_count = folder, rules, class_count
        self._shown: dict[str, _Shown] = {}
        gone = self._room(folder.overrun, math.inf, self._rarities())
        if gone:
            folder.remove(gone)

    def offer(self, candidate: Candidate) -> Decision:
        """Keep the frame or say why not; raises DataError if the disk refuses."""
        verdict = candidate.verdict
        importance = sum(verdict.doubts.values())
        if importance < self._rules.least_importance:
            return Decision(Decided.AGREED)
        if self._soon_after(candidate.stamp_ns):
            return Decision(Decided.SOON_AFTER)
        shown = _shown(candidate)
        if any(
            self._alike(shown, self._shown[frame.file]) for frame in self._folder.frames if frame.file in self._shown
        ):
            return Decision(Decided.ALIKE)
        messages = candidate.messages()
        if self._overlaps(messages):
            return Decision(Decided.SOON_AFTER)
        name, content = frame_name(candidate.stamp_ns), mcap_bytes(messages)
        rarities = self._rarities()
        useful = rarities.usefulness(verdict.doubts)
        frame = _kept_frame(candidate, len(content), useful)
        part = part_of(name, messages)
        excess = self._folder.excess(frame, part)
        if excess > sum(other.bytes for other in self._folder.frames):
            return Decision(Decided.TOO_LARGE)
        evicted = self._room(excess, useful, rarities)
        if evicted is None:
            return Decision(Decided.LESS_USEFUL)
        self._folder.keep(frame, part, content, evicted)
        self._shown[name] = shown
        for other in evicted:
            self._shown.pop(other.file, None)
        return Decision(Decided.KEPT, frame, tuple(evicted))

    def _least_useful_first(self, rarities: ClassRarities) -> list[KeptFrame]:
        return sorted(self._folder.frames, key=lambda frame: (rarities.usefulness(frame.doubts), frame.stamp_ns))

    def _rarities(self) -> ClassRarities:
        return ClassRarities.among(self._folder.frames, self._class_count)

    def _room(self, needed: int, useful: float, rarities: ClassRarities) -> list[KeptFrame] | None:
        """The least useful frames whose bytes make room; None if that takes one that is as useful as the new one."""
        evicted: list[KeptFrame] = []
        for frame in self._least_useful_first(rarities):
            if sum(other.bytes for other in evicted) >= needed:
                break
            if rarities.usefulness(frame.doubts) >= useful:
                return None
            evicted.append(frame)
        return evicted

    def _soon_after(self, stamp_ns: int) -> bool:
        interval_ns = self._rules.interval_s * 1e9
        return any(abs(frame.stamp_ns - stamp_ns) < interval_ns for frame in self._folder.frames)

    def _overlaps(self, messages: Sequence[RecordedMessage]) -> bool:
        """Whether a kept frame holds messages of the same time: a bag's files come one after the other."""
        first, last = (pick(message.received_ns for message in messages) for pick in (min, max))
        return any(start <= last and first <= end for start, end in self._folder.spans_ns)

    def _alike(self, new: _Shown, kept: _Shown) -> bool:
        """Whether most of what is disputed was disputed before, from the same place."""
        if new.odometry != kept.odometry or (new.odom_from_base is None) != (kept.odom_from_base is None):
            return False
        if new.odom_from_base is not None:
            moved = invert(kept.odom_from_base) @ new.odom_from_base
            if np.linalg.norm(moved[:2, 3]) > self._rules.place_m or abs(yaw_of(moved)) > TURNED_RAD:
                return False
        known = sum(_is_known(dispute, place, kept) for dispute, place in zip(new.disputes, new.places, strict=True))
        return known >= SAME_SHARE * len(new.disputes)


def _kept_frame(candidate: Candidate, size: int, useful: float) -> KeptFrame:
    """The line of a frame whose file has so many bytes."""
    verdict, importance = candidate.verdict, sum(candidate.verdict.doubts.values())
    return KeptFrame(
        candidate.stamp_ns,
        frame_name(candidate.stamp_ns),
        size,
        round(importance, 4),
        round(useful / importance, 4) if importance else 1.0,
        verdict.counts,
        verdict.classes,
        {kind: round(doubt, 4) for kind, doubt in verdict.doubts.items()},
        _why(verdict.disputes),
    )


def _shown(candidate: Candidate) -> _Shown:
    centers = np.array([dispute.center for dispute in candidate.verdict.disputes]).reshape(-1, 3)
    pose = np.eye(4) if candidate.odom_from_base is None else candidate.odom_from_base
    places = centers @ pose[:3, :3].T + pose[:3, 3]
    return _Shown(candidate.odometry, candidate.odom_from_base, candidate.verdict.disputes, places)


def _is_known(dispute: Dispute, place: np.ndarray, kept: _Shown) -> bool:
    return any(
        (dispute.kind, dispute.class_name) == (other.kind, other.class_name)
        and np.linalg.norm(place[:2] - there[:2]) < SAME_OBJECT_M
        for other, there in zip(kept.disputes, kept.places, strict=True)
    )


def _why(disputes: Sequence[Dispute]) -> str:
    """A sentence: the disputes of most doubt."""
    foremost = sorted(disputes, key=lambda dispute: -dispute.doubt)
    named = "; ".join(dispute.why for dispute in foremost[:MOST_NAMED])
    return f"{named}; and {len(disputes) - MOST_NAMED} more" if len(disputes) > MOST_NAMED else named
