"""What becomes of a recording of `hard_sample_recorder`: each kept frame a keyframe, a scene for each stretch of them.

Kept frames lie anywhere in a drive. Scenes are split where time has a gap, for tracks and memory mean nothing across
it; and where labels begin or end, so that a configuration can name scenes that a human labelled and scenes that wait
for a teacher.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from kd_perception.continual.recording import KeptFrame, is_recording, read_recording
from kd_perception.datasets.kept_table import KeptRow
from kd_perception.datasets.written_tables import sample_token, table_token
from kd_perception.errors import DataError
from kd_perception.imports.bag_labels import BagLabels

GAP_NS = 1_500_000_000  # between keyframes of one scene at most: nuScenes' velocities reach no further
BEFORE_NS = 2_000_000_000  # what was measured so long before a keyframe is its past: the teacher's window of clouds
MICROSECOND = 1000
UNLABELLED = "-unlabelled"  # behind the names of scenes without labels, where others have some


@dataclass(frozen=True)
class Keyframes:
    """Stamps (ns) of keyframes, rising; scenes: name, and the indices of its keyframes; kept (or none): why each was
    recorded."""

    stamps_ns: tuple[int, ...]
    scenes: tuple[tuple[str, range], ...]
    kept: tuple[KeptFrame, ...] = ()
    problems: tuple[str, ...] = ()

    def kept_rows(self, usable: Sequence[bool]) -> list[dict]:
        """Rows of the table KEPT_TABLE; `usable` says of each keyframe whether it is in the tables."""
        rows = []
        for name, indices in self.scenes if self.kept else ():
            for index in filter(usable.__getitem__, indices):
                frame, sample = self.kept[index], sample_token(name, self.stamps_ns[index] // MICROSECOND)
                own = (frame.importance, frame.rarity, frame.verdicts, frame.why)
                rows.append(msgspec.to_builtins(KeptRow(table_token(sample, "kept"), sample, *own)))
        return rows


def kept_keyframes(folder: Path, labels: BagLabels | None, tolerance_ns: int) -> Keyframes | None:
    """The keyframes of a recording, None for an ordinary bag. A labelled one has the stamp of its labels.

    Raises DataError for a recording that cannot be read or is empty, and for labels of moments that it does not hold.
    """
    if not is_recording(folder):
        return None
    recording = read_recording(folder)
    if not recording.frames:
        raise DataError(f"recording {folder} holds no kept frame yet; let hard_sample_recorder run longer")
    stamps = [frame.stamp_ns for frame in recording.frames]
    labelled = _labelled(folder, stamps, labels, tolerance_ns)
    stamps = [labelled.get(index, stamp) for index, stamp in enumerate(stamps)]
    scenes, start = [], 0
    for end in range(1, len(stamps) + 1):
        if end == len(stamps) or stamps[end] - stamps[end - 1] > GAP_NS or (end in labelled) != (start in labelled):
            waits = bool(labelled) and start not in labelled
            scenes.append(
                (f"{folder.resolve().name}-{len(scenes):03d}{UNLABELLED if waits else ''}", range(start, end))
            )
            start = end
    return Keyframes(tuple(stamps), tuple(scenes), recording.frames, recording.problems)


def leading(stamps: np.ndarray, moments: Sequence[int]) -> np.ndarray:
    """The keyframe (n,) whose past or near future each stamp (n,) belongs to: the next one within BEFORE_NS, else the
    last one within GAP_NS, else none (-1)."""
    moments = np.asarray(moments)
    after = np.searchsorted(moments, stamps)
    next_, last = np.minimum(after, len(moments) - 1), np.maximum(after - 1, 0)
    leads = (after < len(moments)) & (moments[next_] - stamps <= BEFORE_NS)
    trails = (after > 0) & (stamps - moments[last] <= GAP_NS)
    return np.where(leads, next_, np.where(trails, last, -1))


def _labelled(folder: Path, stamps: Sequence[int], labels: BagLabels | None, tolerance_ns: int) -> dict[int, int]:
    """The stamp of the labels of each kept frame that has some, by its index."""
    found: dict[int, int] = {}
    for stamp in labels.stamps_ns if labels else ():
        index = int(np.abs(np.array(stamps) - stamp).argmin())
        if abs(stamps[index] - stamp) > tolerance_ns or index in found:
            raise DataError(
                f"labels of {stamp / 1e9:.3f} belong to no kept frame of {folder} within {tolerance_ns / 1e6:.0f} ms "
                f"(nearest: {stamps[index] / 1e9:.3f}), or two of them to one; give stamps of kept.jsonl"
            )
        found[index] = stamp
    return found
