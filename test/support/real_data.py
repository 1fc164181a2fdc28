"""Where the real nuScenes and KITTI frames lie, for tests that read them in place and skip where they are absent."""

import os
from pathlib import Path

import pytest

from support.checkout import ROOT

REAL_DATA = Path(os.environ.get("KD_REAL_DATA", ROOT.parent / "shared" / "data"))


def real_data(folder: str) -> Path:
    """The folder of that name; skips the calling test with the reason where it is absent."""
    path = REAL_DATA / folder
    if not path.is_dir():
        pytest.skip(f"real data is not in {path}; set KD_REAL_DATA to the folder that holds it")
    return path
