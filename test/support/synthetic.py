"""Settings of the small synthetic data set that several tests render."""

from pathlib import Path

from kd_synthetic.dataset.generate import SynthConfig


def small_config(out: Path, jobs: int = 2) -> SynthConfig:
    """Two short scenes with small pictures; among them they show every class."""
    return SynthConfig(out, scenes=2, frames=2, seed=7, width=176, height=64, sweeps=1, jobs=jobs)
