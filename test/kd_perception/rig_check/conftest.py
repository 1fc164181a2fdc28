"""A rendered scene as a bag, shared by the tests of this folder, and what `kd rig check` says about changed copies."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.edit_bag import Change, edit_bag
from support.made_once import made_once

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.rig_check.command import examine
from kd_perception.rig_check.moments import read_moments
from kd_perception.rig_check.recording import read_recording
from kd_perception.rig_check.report import RigReport
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate


def render_bag(folder: Path) -> None:
    """Four keyframes of one scene, in `folder`/bag."""
    generate(SynthConfig(folder / "data", scenes=1, frames=4, seed=900, width=352, height=128, sweeps=0, jobs=1))
    nusc = open_nuscenes(folder / "data", SYNTHETIC_VERSION)
    write_scene(nusc, scene_names(nusc)[0], folder / "bag")


@pytest.fixture(scope="session")
def good_bag(request: pytest.FixtureRequest) -> Path:
    """Four keyframes of one rendered scene; do not change it."""
    return made_once(request, "rig_check", render_bag) / "bag"


@pytest.fixture
def report_of(good_bag: Path, tmp_path: Path) -> Callable[[Change | None], RigReport]:
    """The report on the good bag, or on a copy with something changed."""

    def report(change: Change | None = None) -> RigReport:
        bag = good_bag if change is None else edit_bag(good_bag, tmp_path / "changed", change)
        recording = read_recording(bag)
        return examine(recording, read_moments(recording, "base_link", 4))

    return report
