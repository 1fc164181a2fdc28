"""What a run's data would lead to later is told before its first step."""

from pathlib import Path

import numpy as np
import pytest
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import student_run

from kd_perception.errors import DataError
from kd_perception.geometry.grid import BevGrid
from kd_training.config.sections import DataRoot
from kd_training.data.first_look import check_boxes, check_first_clouds
from kd_training.data.frames import open_frames
from kd_training.loop.train import train


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


def test_a_run_without_boxes_ends_before_its_first_step(tmp_path):
    """One set without boxes among others is a note, with its cause."""
    root = write_dataset(tmp_path / "data", samples=1, sweeps=False)
    categories = root / VERSION / "category.json"
    categories.write_text(categories.read_text().replace("vehicle.", "kfz.").replace("movable_object.", "ding."))
    config = student_run(root)
    with pytest.raises(DataError, match=r"their categories are kfz.car \(6\), .* in `categories` of a class list"):
        train(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    good = DataRoot(root=str(write_dataset(tmp_path / "good", samples=1, sweeps=False)), version=VERSION)
    notes = check_boxes(open_frames([*config.data.roots, good]), BevGrid.square(12.8, 0.8))
    assert len(notes) == 1 and f"{root} ({VERSION}) counts: their categories" in notes[0]
