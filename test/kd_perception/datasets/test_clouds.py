"""Declared columns of point clouds."""

import numpy as np
import pytest

from kd_perception.datasets.clouds import KITTI_COLUMNS, read_cloud
from kd_perception.errors import DataError


def test_declared_columns_become_nuscenes_five(tmp_path):
    path = tmp_path / "cloud.bin"
    np.array([[1, 2, 3, 0.2], [4, 5, 6, 1.0]], np.float32).tofile(path)
    np.testing.assert_allclose(read_cloud(path, KITTI_COLUMNS), [[1, 2, 3, 51, 0], [4, 5, 6, 255, 0]])
    np.testing.assert_allclose(read_cloud(path, ("z", "y", "x", "time"))[:, :4], [[3, 2, 1, 0], [6, 5, 4, 0]])


def test_a_cut_cloud_and_columns_without_a_position_are_refused(tmp_path):
    path = tmp_path / "cloud.bin"
    np.zeros(10, np.float32).tofile(path)
    with pytest.raises(DataError, match="10 numbers are not rows of four"):
        read_cloud(path, KITTI_COLUMNS)
    with pytest.raises(DataError, match="lack x, y or z"):
        read_cloud(path, ("x", "y", "intensity"))
