"""Points to pillars: what a point's features mean, and tables of a file that lose nothing within their room."""

import numpy as np
import pytest

from kd_perception.geometry.grid import BevGrid
from kd_perception.teacher.pillars import FilledTables, pillar_points, pillar_tables
from kd_perception.teacher.spec import PointsSpec, TeacherSpec

SPEC = TeacherSpec("test", BevGrid.square(4.0, 1.0), 0.5, PointsSpec(2, (-3.0, 5.0), 0, most=30, crowd=8))
CELLS = 16 * 16


def cloud(*points: tuple[float, ...]) -> np.ndarray:
    return np.array(points, np.float32).reshape(-1, 5)


def tables(points: np.ndarray) -> FilledTables:
    return pillar_tables(pillar_points(points, SPEC.raster), SPEC)


def pillars_of(filled: FilledTables) -> dict[int, set[bytes]]:
    """Cell -> the features of its points, read as the file reads them."""
    points, followers, first = (filled.inputs[name] for name in ("points", "followers", "first_point"))
    used = {cell: range(first[cell], first[cell] + followers[first[cell]] + 1) for cell in np.flatnonzero(first < 30)}
    for rows in used.values():
        assert [followers[row] for row in rows] == list(range(len(rows)))[::-1]
    return {cell: {points[row].tobytes() for row in rows} for cell, rows in used.items()}


def test_features_of_points():
    found = pillar_points(cloud((1.2, -0.7, 1.5, 0.4, 0.25), (1.4, -0.6, 0.5, 0.6, 0.0), (9, 9, 0, 0, 0)), SPEC.raster)
    assert found.kept.tolist() == [True, True, False] and found.cell.tolist() == [6 * 16 + 10] * 2
    first = [1.2 / 50, -0.7 / 50, 0.5, 0.4, 1.0, -0.1, 0.1, 0.5, np.log(2) / 4]
    np.testing.assert_allclose(found.features[0], first, atol=1e-6)
    np.testing.assert_allclose(found.features[1, 5:8], [0.3, 0.3, -0.5], atol=1e-6)


def test_tables_hold_every_pillar_together():
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.integers(-2, 2, (28, 2)) + 0.2, rng.random((28, 3))]).astype(np.float32)
    found, filled = pillar_points(points, SPEC.raster), tables(points)
    held = pillars_of(filled)
    assert filled.left_out == 0 and set(held) == set(found.cell) and max(map(len, held.values())) > 1
    for cell, features in held.items():
        assert features == {row.tobytes() for row in found.features[found.cell == cell]}
    assert filled.inputs["first_point"].shape == (CELLS,) and filled.inputs["points"].shape == (30, 9)


def test_what_is_beyond_a_files_room_is_left_out_and_counted():
    one = [(0.1, 0.1, 0.01 * k, 0, 0) for k in range(11)]
    filled = tables(cloud(*one))
    assert filled.left_out == 3 and [len(pillar) for pillar in pillars_of(filled).values()] == [8]
    spread = [(-3.9 + 0.5 * (k % 16), -3.9 + 0.5 * (k // 16), 0, 0, 0) for k in range(40)]
    filled = tables(cloud(*spread))
    assert filled.left_out == 10 and len(pillars_of(filled)) == 30


@pytest.mark.parametrize("points", [cloud(), cloud((90.0, 0, 0, 0, 0)), cloud((4.0, 0, 0, 0, 0), (0, -4.1, 0, 0, 0))])
def test_without_points_on_the_raster_every_cell_is_empty(points):
    filled = tables(points)
    assert filled.left_out == 0 and not pillars_of(filled) and not filled.inputs["points"].any()
