"""The BEV grid: which cell is where."""

import numpy as np
import pytest

from kd_perception.geometry.grid import BevGrid

GRID = BevGrid(x_min=-10.0, x_max=30.0, y_min=-8.0, y_max=8.0, cell_size=0.8)


def test_rows_are_y_and_columns_are_x():
    assert GRID.shape == (20, 50)
    centers = GRID.centers()
    assert centers.shape == (20, 50, 2)
    np.testing.assert_allclose(centers[0, 0], [-9.6, -7.6])
    np.testing.assert_allclose(centers[19, 49], [29.6, 7.6])
    assert (np.diff(centers[:, 0, 1]) > 0).all() and (np.diff(centers[0, :, 0]) > 0).all()


def test_cell_centres_are_at_half():
    columns_rows = GRID.to_cells(GRID.centers())
    rows, columns = np.mgrid[0:20, 0:50]
    np.testing.assert_allclose(columns_rows, np.stack([columns + 0.5, rows + 0.5], axis=-1), atol=1e-9)


def test_metres_to_cells_and_back():
    xy = np.random.default_rng(0).uniform(-100, 100, (50, 2))
    np.testing.assert_allclose(GRID.to_metres(GRID.to_cells(xy)), xy, atol=1e-9)


def test_a_fraction_of_a_cell_is_refused():
    with pytest.raises(ValueError, match="not a whole number"):
        BevGrid(-10.0, 10.5, -10.0, 10.0, 1.0)
