"""Schedules in epochs become steps, and steps become micro-batches of each process."""

import math
from collections.abc import Sequence

from kd_perception.errors import ConfigError
from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import AnyConfig
from kd_training.data.frames import TrainingFrame, facts_of


def plan_run(config: AnyConfig, frames: Sequence[TrainingFrame], rank: int, processes: int) -> RunPlan:
    """The plan of a configuration's schedule, for the process `rank` of `processes`.

    Raises ConfigError if schedule.total_batch is no multiple of what all processes take at once.
    """
    schedule, at_once = config.schedule, config.schedule.batch * processes
    if schedule.total_batch % at_once:
        raise ConfigError(
            f"schedule.total_batch {schedule.total_batch} is no multiple of {schedule.batch} samples in {processes} "
            "process(es); change schedule.batch or the number of processes"
        )
    micro_batches = max(1, schedule.total_batch // at_once)
    samples = epoch_samples(frames, balanced=config.data.balance_classes)
    steps = schedule.steps or math.ceil(schedule.epochs * samples / (at_once * micro_batches))
    return RunPlan(steps, micro_batches, rank, processes)


def epoch_samples(frames: Sequence[TrainingFrame], *, balanced: bool) -> int:
    """Samples of one epoch: every keyframe once; with class balance as many as class-balanced grouping and sampling
    (arXiv:1908.09492) draws: the keyframes of each class, added up (nuScenes: 4.4 times the keyframes)."""
    if not balanced:
        return len(frames)
    return max(len(frames), sum(int(facts.present.sum()) for facts in facts_of(frames)))
