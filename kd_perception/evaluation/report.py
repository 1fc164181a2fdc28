"""report.json: how many frames came in and were answered, and how long each stage took, with what."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kd_perception.atomic import write_text

PERCENTILES = (50, 95, 99)


@dataclass(frozen=True)
class RunReport:
    """One run: frames offered, answered and dropped; percentiles of each stage's time; what it was done with."""

    frames_in: int
    frames_answered: int
    frames_dropped: int
    latency_ms: dict[str, dict[str, float]]  # stage -> {"p50": ..., "p95": ..., "p99": ...}
    model: str
    engine: str
    commit: str


def make_report(
    frames_in: int, frames_dropped: int, stages: Sequence[Mapping[str, float]], model: str, engine: str
) -> RunReport:
    """A report of the answered frames' stage times (milliseconds, one mapping a frame)."""
    return RunReport(frames_in, len(stages), frames_dropped, percentiles(by_stage(stages)), model, engine, commit())


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


def write_report(path: Path, report: RunReport, **runs: RunReport) -> None:
    """Write report.json atomically; further runs of the same evaluation go in under their names."""
    write_text(path, json.dumps({**asdict(report), **{name: asdict(run) for name, run in runs.items()}}, indent=2))


def commit() -> str:
    """The checkout's commit, '+' appended if files differ from it; 'unknown' where the package is no checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return "unknown"
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
