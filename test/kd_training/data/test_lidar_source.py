"""A LiDAR file is opened once for all that a sample derives from it, and what is derived stays within one budget."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.clouds import lidar_rows
from support.nuscenes_tables import SCENES, VERSION, token, write_dataset
from support.training_data import lidar_source, no_augmentation

from kd_perception.datasets.masks_and_depth import write_mask
from kd_perception.errors import DataError
from kd_training.config.sections import DataRoot, ModelConfig
from kd_training.config.student_spec import student_spec
from kd_training.config.teacher import PointsConfig, VirtualPointsConfig
from kd_training.data.frames import TrainingFrame, open_frames
from kd_training.data.lidar_source import LidarSource
from kd_training.data.samples import SampleReader

SPEC = student_spec(ModelConfig(name="test"), (127.5,) * 3, (127.5,) * 3)
TWO_SWEEPS = PointsConfig(sweeps=2, virtual=VirtualPointsConfig(per_instance=30))


@pytest.fixture(scope="module")
def frames(tmp_path_factory) -> tuple[TrainingFrame, ...]:
    """The first scene's three keyframes with masks that show the first object everywhere."""
    root = write_dataset(tmp_path_factory.mktemp("painted"))
    loaded = open_frames([DataRoot(root=str(root), version=VERSION)])[:3]
    for frame in loaded:
        for image in frame.frame.images:
            owner = np.zeros((image.camera.height, image.camera.width), np.int64)
            path = root / "masks" / image.camera.name / f"{image.path.stem}.png"
            write_mask(path, owner, {0: token(SCENES[0], "annotation", 0, 0)})
    return loaded


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """Names of the LiDAR files that were opened."""
    names, read = [], Path.read_bytes

    def counted(path: Path) -> bytes:
        if path.name.endswith(".pcd.bin"):
            names.append(path.name)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    return names


def names(frame: TrainingFrame, sweeps: int) -> list[str]:
    return [Path(row["filename"]).name for row in lidar_rows(frame)[:sweeps]]


@pytest.mark.parametrize("cache_bytes", [0, 10**8])
def test_depth_labels_cloud_and_virtual_points_of_a_sample_share_one_read(frames, opened, cache_bytes):
    lidar = lidar_source(TWO_SWEEPS, cache_bytes)
    sample = SampleReader(SPEC, lidar, lidar).read(frames[2], no_augmentation(SPEC, 6))
    assert sorted(opened) == sorted(names(frames[2], 2))
    assert (sample.depth >= 0).any() and (sample.cloud[:, 5] > 0).any()


def test_an_epoch_later_nothing_is_read_again_within_the_budget(frames, opened):
    lidar = lidar_source(TWO_SWEEPS, 10**8)
    reader = SampleReader(SPEC, lidar, lidar)
    first = [reader.read(frame, no_augmentation(SPEC, 6)) for frame in frames]
    opened.clear()
    again = [reader.read(frame, no_augmentation(SPEC, 6)) for frame in frames]
    assert not opened
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.depth, other.depth)
        np.testing.assert_array_equal(one.cloud, other.cloud)


def test_arrays_are_the_same_whatever_the_budget(frames):
    kept, not_kept = lidar_source(TWO_SWEEPS, 10**8), lidar_source(TWO_SWEEPS, 0)
    for frame in (*frames, *frames):
        np.testing.assert_array_equal(kept.cloud(frame), not_kept.cloud(frame))
        for one, other in zip(kept.returns(frame), not_kept.returns(frame), strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)
            np.testing.assert_array_equal(one.ranges, other.ranges)


def test_returns_and_clouds_share_one_budget_and_the_least_recently_used_goes_first(frames, opened):
    """Room for the first frame's cloud and returns, and for the second's returns, but for nothing more."""
    config = PointsConfig(sweeps=1)
    alone = lidar_source(config)
    returns = [sum(part.nbytes for part in alone.returns(frame)) for frame in frames]
    lidar = lidar_source(config, alone.cloud(frames[0]).nbytes + returns[0] + returns[1])

    def reads(frame: TrainingFrame) -> int:
        opened.clear()
        lidar.returns(frame)
        return len(opened)

    lidar.cloud(frames[0])
    assert reads(frames[0]) == 0  # the sweep of just now
    assert (reads(frames[1]), reads(frames[0]), reads(frames[1])) == (1, 0, 0)
    for _ in range(3):  # what is present already takes no room again
        lidar.cloud(frames[0])
    assert (reads(frames[0]), reads(frames[1])) == (0, 0)
    lidar.returns(frames[2])  # the first frame's cloud must go, it alone
    assert (reads(frames[0]), reads(frames[1]), reads(frames[2])) == (0, 0, 0)
    lidar.cloud(frames[1])  # of another keyframe, so that the first's sweep is not the last read
    opened.clear()
    lidar.cloud(frames[0])
    assert opened == names(frames[0], 1)


def test_tables_without_a_lidar_are_named(frames):
    with pytest.raises(DataError, match="has no LiDAR.*unless loss.depth is 0"):
        LidarSource(0).returns(replace(frames[0], lidars=()))
