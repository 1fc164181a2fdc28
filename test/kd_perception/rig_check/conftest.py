"""A rendered scene as a bag, shared by the tests of this folder, and what `kd rig check` says about changed copies."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.edit_bag import Change, edit_bag
from support.rig_bag import rendered_bag

from kd_perception.rig_check.command import examine
from kd_perception.rig_check.moments import read_moments
from kd_perception.rig_check.recording import read_recording
from kd_perception.rig_check.report import RigReport


@pytest.fixture(scope="session")
def good_bag(request: pytest.FixtureRequest) -> Path:
    """Four keyframes of one rendered scene; do not change it."""
    return rendered_bag(request)


@pytest.fixture
def report_of(good_bag: Path, tmp_path: Path) -> Callable[[Change | None], RigReport]:
    """The report on the good bag, or on a copy with something changed."""

    def report(change: Change | None = None) -> RigReport:
        bag = good_bag if change is None else edit_bag(good_bag, tmp_path / "changed", change)
        recording = read_recording(bag)
        return examine(recording, read_moments(recording, "base_link", 4))

    return report
