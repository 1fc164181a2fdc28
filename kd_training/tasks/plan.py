"""How long a run is, and which share of it a process has: schedules in epochs become steps."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kd_perception.errors import ConfigError
from kd_perception.geometry.boxes import CLASSES
from kd_training.config.sections import ScheduleConfig
from kd_training.data.frames import TrainingFrame


class RunPlan(NamedTuple):
    """`steps` of the optimiser, each of `passes` batches in every one of `processes` processes, of which this is
    `rank`."""

    steps: int
    passes: int
    rank: int
    processes: int


def plan_run(
    schedule: ScheduleConfig, frames: Sequence[TrainingFrame], balanced: bool, rank: int, processes: int
) -> RunPlan:
    """The plan of a schedule.

    Raises ConfigError if schedule.total_batch is no multiple of what all processes take at once.
    """
    at_once = schedule.batch * processes
    if schedule.total_batch % at_once:
        raise ConfigError(
            f"schedule.total_batch {schedule.total_batch} is no multiple of {schedule.batch} samples in {processes} "
            "process(es); change schedule.batch or the number of processes"
        )
    passes = max(1, schedule.total_batch // at_once)
    steps = schedule.steps or math.ceil(schedule.epochs * epoch_samples(frames, balanced) / (at_once * passes))
    return RunPlan(steps, passes, rank, processes)


def epoch_samples(frames: Sequence[TrainingFrame], balanced: bool) -> int:
    """Samples of one epoch: every keyframe once; with class balance as many as class-balanced grouping and sampling
    (arXiv:1908.09492) draws: the keyframes of each class, added up (nuScenes: 4.4 times the keyframes)."""
    if not balanced:
        return len(frames)
    present = [np.count_nonzero(np.bincount(frame.boxes.label, minlength=len(CLASSES))) for frame in frames]
    return max(len(frames), int(sum(present)))
