"""The facts about its origin that a student file states."""

import subprocess
from pathlib import Path

from kd_training.config.experiment import TrainConfig


def provenance_of(config: TrainConfig, data: str) -> dict[str, str]:
    """What a student file says about its origin."""
    schedule = config.schedule
    length = f"{schedule.steps} steps" if schedule.steps else f"{schedule.epochs:g} epochs"
    samples = f"{schedule.total_batch} samples" if schedule.total_batch else f"{schedule.batch} samples per process"
    facts = {
        "data": data or ", ".join(f"{source.root} {source.version}" for source in config.data.roots),
        "training": f"{length} of {samples}, seed {schedule.seed}, {schedule.precision}",
        "commit": _commit(),
    }
    if config.distill.teacher:
        facts["teacher"] = config.distill.teacher
    return facts


def _commit() -> str:
    """The checkout's commit, '+' if it has changes; 'unknown' outside one."""
    try:
        return _git("rev-parse", "--short=12", "HEAD") + ("+" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    here = Path(__file__).resolve().parent
    return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()
