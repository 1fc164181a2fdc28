"""Rows of the tables of time per stage."""

from collections.abc import Mapping, Sequence

import numpy as np

from kd_bench.stages.measure import PARTS, STAGES, StageTimes


def stage_rows(times: StageTimes) -> list[tuple[str, str, str, str, str]]:
    """(stage, engine median, engine p95, eager median, eager / engine) as text, in the order of the pipeline."""
    eager = times.eager[times.better_layout()]
    rows = []
    for stage in STAGES:
        ours = np.asarray(times.engine[stage])
        label = f"  of which {stage}" if stage in PARTS else stage
        theirs = np.median(eager[stage]) if stage in eager else None
        compared = ("", "") if theirs is None else (f"{theirs:.1f}", f"{theirs / np.median(ours):.1f} x")
        rows.append((label, f"{np.median(ours):.1f}", f"{np.percentile(ours, 95):.1f}", *compared))
    return rows


def graph_rows(stages: Sequence[Mapping[str, float]]) -> list[tuple[str, str, str]]:
    """(stage, median, p95) as text, of the frames that the running node graph answered."""
    rows = []
    for stage in stages[0]:
        values = [frame[stage] for frame in stages]
        rows.append((stage.replace("_", " "), f"{np.median(values):.1f}", f"{np.percentile(values, 95):.1f}"))
    return rows


def headings(times: StageTimes) -> tuple[str, str, str, str, str]:
    """Column names of `stage_rows`."""
    name = times.engine_name
    return "stage", f"{name} ms", f"{name} p95", f"eager PyTorch ms ({times.better_layout()})", "ratio"
