"""Keyframes that a training cannot use are refused before it starts, and what they lack is told."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from kd_perception.datasets.timeline import CameraTimeline
from kd_perception.errors import ConfigError, DataError
from kd_perception.student.spec import MemorySpec
from kd_training.data.frames import KeyFrames, TrainingFrame, facts_of

INTERVAL_TOLERANCE_S = 0.1


def check_clouds(frames: Sequence[TrainingFrame], where: str = "data.roots") -> None:
    """Raise DataError if a keyframe has no LiDAR: a teacher sees nothing else."""
    without = [number for number, facts in enumerate(facts_of(frames)) if not facts.lidars]
    if without:
        first = frames[without[0]]
        raise DataError(
            f"{len(without)} of {len(frames)} keyframes of {where} have no LiDAR in their tables, which a teacher "
            f"needs; the first is sample {first.frame.sample_token} of scene '{first.frame.scene}' in "
            f"{first.nusc.dataroot}; choose other scenes ({where}[].scenes)"
        )


def check_depth_labels(frames: Sequence[TrainingFrame]) -> None:
    """Raise ConfigError if no keyframe has a LiDAR, which gives a student its depth labels."""
    if not any(facts.lidars for facts in facts_of(frames)):
        raise ConfigError(
            "no keyframe of data.roots has a LiDAR, so there are no depth labels; set loss.depth=0 for a camera-only "
            "data set"
        )


def what_is_masked(frames: Sequence[TrainingFrame]) -> list[str]:
    """Sentences that count what keyframes lack: images of cameras, which are masked, and LiDARs."""
    sentences, known = [], facts_of(frames)
    masked = Counter(name for facts in known for name in facts.masked)
    if masked:
        counts = ", ".join(f"{name} in {count}" for name, count in sorted(masked.items()))
        sentences.append(f"the tables lack images, their cameras are masked (of {len(frames)} keyframes): {counts}")
    if without := sum(not facts.lidars for facts in known):
        sentences.append(f"{without} of {len(frames)} keyframes have no LiDAR and therefore no depth labels")
    return sentences


def check_intervals(frames: Sequence[TrainingFrame], memory: MemorySpec) -> None:
    """Raise ConfigError if the data has no pairs near the shortest or the longest interval: a student's file must not
    claim intervals that it was not trained on."""
    ages = [
        (stamp - line.stamps_us[index]) / 1e6
        for line, stamps in _moments(frames)
        for stamp in stamps
        for index in line.earlier(stamp, memory.shortest_s, memory.longest_s)
    ]
    if not ages:
        raise ConfigError(
            f"no two camera frames of data.roots are {memory.shortest_s:g} to {memory.longest_s:g} s apart; widen "
            "model.temporal.shortest and longest"
        )
    if min(ages) > memory.shortest_s + INTERVAL_TOLERANCE_S or max(ages) < memory.longest_s - INTERVAL_TOLERANCE_S:
        raise ConfigError(
            f"camera frames of data.roots are {min(ages):.2f} to {max(ages):.2f} s apart, but model.temporal says "
            f"{memory.shortest_s:g} to {memory.longest_s:g} s; set shortest and longest to what the data has"
        )


def _moments(frames: Sequence[TrainingFrame]) -> list[tuple[CameraTimeline, np.ndarray]]:
    """Time lines, and the times (F,) of keyframes in them."""
    if isinstance(frames, KeyFrames):
        return frames.moments
    return [(frame.timeline, np.array([frame.frame.timestamp_us])) for frame in frames]
