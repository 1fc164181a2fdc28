"""Which pyramid levels are matched at which ratio, and what is sampled where."""

import numpy as np
import pytest
import torch

from kd_training.distill.scale.levels import matched_levels, sampled


@pytest.mark.parametrize(
    ("ratio", "student", "teacher", "expected"),
    [
        (1.0, (8, 16, 32), (8, 16, 32), [(8, 8, 1.0), (16, 16, 1.0), (32, 32, 1.0)]),
        (2.0, (8, 16, 32), (8, 16, 32), [(8, 16, 1.0), (16, 32, 1.0)]),  # P_l <- P_(l-1)
        (4.0, (8, 16, 32), (8, 16, 32), [(8, 32, 1.0)]),
        (2.0, (8, 16, 32), (16, 32), [(8, 16, 1.0), (16, 32, 1.0)]),
        (4 / 3, (8, 16, 32), (8, 16, 32), [(8, 8, 0.75), (16, 16, 0.75), (32, 32, 0.75)]),  # the nearest, resampled
        (1.5, (8, 16, 32), (8, 16, 32), [(8, 16, 4 / 3), (16, 32, 4 / 3)]),
        (8.0, (8, 16, 32), (8, 16, 32), []),
    ],
)
def test_levels_match_where_pictures_have_about_as_many_cells(ratio, student, teacher, expected):
    found = matched_levels(ratio, student, teacher)
    assert [(match.student, match.teacher) for match in found] == [entry[:2] for entry in expected]
    np.testing.assert_allclose([match.step for match in found], [entry[2] for entry in expected])


@pytest.mark.parametrize(("step", "shape"), [(2.0, (4, 6)), (0.75, (10, 16)), (4 / 3, (6, 9)), (1.0, (7, 12))])
def test_a_ramp_is_sampled_at_cell_centres(step, shape):
    """Cells have centres at .5: of a ramp the sample at cell i is (i + .5) step, whatever the size of the input."""
    rows, columns = (torch.arange(count) + 0.5 for count in (8, 12))
    ramp = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))[None]
    found = sampled(ramp, shape, step)
    for axis, values in enumerate(found[0]):
        wanted = (torch.arange(shape[axis]) + 0.5) * step
        inside = (wanted >= 0.5) & (wanted <= ramp.shape[2 + axis] - 0.5)
        line = values[0] if axis else values[:, 0]
        torch.testing.assert_close(line[inside], wanted[inside])
    assert sampled(ramp, (8, 12), 1.0) is ramp
