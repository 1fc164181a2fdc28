"""A small synthetic data set that several tests read."""

from pathlib import Path

import pytest

from kd_synthetic.dataset.generate import SynthConfig, generate
from support.made_once import made_once


def small_config(out: Path, jobs: int = 2) -> SynthConfig:
    """Two short scenes with small pictures; among them they show every class."""
    return SynthConfig(out, scenes=2, frames=2, seed=7, width=176, height=64, sweeps=1, jobs=jobs)


def small_set(request: pytest.FixtureRequest) -> SynthConfig:
    """That set, rendered; do not change its files."""
    folder = made_once(request, "synthetic", lambda folder: generate(small_config(folder / "data")))
    return small_config(folder / "data")
