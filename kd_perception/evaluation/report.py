"""The figures of a run's report: how many frames were processed, and how long each stage took."""

from collections.abc import Mapping, Sequence

import numpy as np

from kd_perception.commit import code_commit
from kd_perception.evaluation.result_folder import RunReport

PERCENTILES = (50, 95, 99)


def make_report(stages: Sequence[Mapping[str, float]], *, frames_in: int, model: str, engine: str) -> RunReport:
    """The report of a run that was offered `frames_in` frames and processed those of `stages`.

    `stages`: milliseconds by stage, one mapping a frame.
    """
    return RunReport(
        frames_in=frames_in,
        frames_answered=len(stages),
        frames_dropped=frames_in - len(stages),
        latency_ms=percentiles(by_stage(stages)),
        model=model,
        engine=engine,
        commit=code_commit(),
    )


def by_stage(stages: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """One mapping a frame -> one list a stage, stages in the order of their first appearance."""
    names = list(dict.fromkeys(name for frame in stages for name in frame))
    return {name: [frame[name] for frame in stages if name in frame] for name in names}


def percentiles(stages: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
    """p50, p95 and p99 of each stage's times."""
    return {
        name: {f"p{q}": float(value) for q, value in zip(PERCENTILES, np.percentile(times, PERCENTILES), strict=True)}
        for name, times in stages.items()
        if len(times)
    }
