"""What a run's data would lead to later is told before its first step."""

from pathlib import Path

import numpy as np
import pytest
from support.nuscenes_tables import VERSION, write_dataset

from kd_perception.errors import DataError
from kd_training.config.sections import DataRoot
from kd_training.data.first_look import check_first_clouds
from kd_training.data.frames import open_frames


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), sweeps=False)


def test_clouds_of_another_format_in_a_later_scene_are_told(root):
    frames = open_frames([DataRoot(root=str(root), version=VERSION)])
    check_first_clouds(frames)
    for path in (root / "samples" / "LIDAR_TOP").glob("scene-east*"):
        np.fromfile(path, np.float32).reshape(-1, 5)[:, :4].tofile(path)
    with pytest.raises(DataError, match="scene-east.*it looks like 4 columns of float32"):
        check_first_clouds(frames)
