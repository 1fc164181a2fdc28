"""A rendered scene as a bag, for tests of `kd rig check` and of what measures it."""

from pathlib import Path

import pytest

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate
from support.made_once import made_once


def render_bag(folder: Path) -> None:
    """Four keyframes of one scene, in `folder`/bag."""
    generate(SynthConfig(folder / "data", scenes=1, frames=4, seed=900, width=352, height=128, sweeps=0, jobs=1))
    nusc = open_nuscenes(folder / "data", SYNTHETIC_VERSION)
    write_scene(nusc, scene_names(nusc)[0], folder / "bag")


def rendered_bag(request: pytest.FixtureRequest) -> Path:
    """Four keyframes of one rendered scene, made once a run; do not change it."""
    return made_once(request, "rig_check", render_bag) / "bag"
