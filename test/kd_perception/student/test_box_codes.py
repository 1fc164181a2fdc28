"""Codings of boxes: there and back for all yaws, what a turn by pi changes, and what an ambiguous truth decodes to."""

import numpy as np
import pytest

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS, VECTOR, BoxCoding, Heading, coding_of

GRID = BevGrid(-12.8, 12.8, -12.8, 12.8, 0.8)
YAWS = np.concatenate([np.linspace(-np.pi, np.pi, 721), np.arange(-4, 5) * np.pi / 4.0])


def boxes_of(yaws: np.ndarray) -> Boxes:
    count, rng = len(yaws), np.random.default_rng(0)
    return Boxes(
        center=rng.uniform(-12.0, 12.0, (count, 3)),
        size=rng.uniform(0.3, 12.0, (count, 3)),
        yaw=yaws,
        velocity=rng.uniform(-15.0, 15.0, (count, 2)),
        label=np.zeros(count, np.int64),
        score=np.ones(count),
    )


def codes_of(coding: BoxCoding, yaws: np.ndarray) -> np.ndarray:
    boxes = boxes_of(yaws)
    column, row = np.floor(GRID.to_cells(boxes.center[:, :2])).astype(int).T
    return coding.encode(boxes, row, column, GRID)


def apart(left: np.ndarray, right: np.ndarray, period: float = 2.0 * np.pi) -> np.ndarray:
    return np.abs((left - right + period / 2.0) % period - period / 2.0)


@pytest.mark.parametrize("coding", [VECTOR, AXIS])
def test_decoding_inverts_encoding_for_all_yaws(coding: BoxCoding):
    boxes = boxes_of(YAWS)
    column, row = np.floor(GRID.to_cells(boxes.center[:, :2])).astype(int).T
    codes = coding.encode(boxes, row, column, GRID)
    assert codes.shape == (len(boxes), len(coding.names)) and coding.names[-2:] == ("vx", "vy")
    assert apart(coding.yaw(codes), YAWS).max() < 1e-9
    np.testing.assert_allclose(coding.center(codes, row, column, GRID), boxes.center, atol=1e-9)
    np.testing.assert_allclose(coding.size(codes), boxes.size, rtol=1e-9)
    np.testing.assert_allclose(coding.velocity(codes), boxes.velocity, atol=1e-9)
    assert coding_of(coding.heading) is coding and coding_of(Heading(str(coding.heading))) is coding


def test_logits_as_a_network_has_them_decode_as_well():
    codes = codes_of(AXIS, YAWS)
    probability = (1.0 + codes[:, AXIS.directions]) / 2.0
    codes[:, AXIS.directions] = np.log(np.clip(probability, 1e-6, 1.0) / np.clip(1.0 - probability, 1e-6, 1.0))
    assert apart(AXIS.yaw(codes), YAWS).max() < 1e-9


def test_a_turn_leaves_the_axis_alone_and_nothing_jumps():
    turned = codes_of(AXIS, YAWS + np.pi) - codes_of(AXIS, YAWS)
    axis = slice(AXIS.headings.start, AXIS.directions.start)
    assert np.abs(turned[:, axis]).max() < 1e-9
    near = codes_of(AXIS, YAWS + 1e-4) - codes_of(AXIS, YAWS)
    assert np.abs(near).max() < 1e-3


def test_an_ambiguous_truth_decodes_to_the_likelier_side_and_keeps_its_axis():
    """The mean of targets of which 60 % point one way: as vector they would shrink to a fifth, as axis they stay."""
    ahead, behind = codes_of(AXIS, YAWS), codes_of(AXIS, YAWS + np.pi)
    mean = 0.6 * ahead + 0.4 * behind
    assert apart(AXIS.yaw(mean), YAWS).max() < 1e-9
    axis = slice(AXIS.headings.start, AXIS.directions.start)
    np.testing.assert_allclose(np.linalg.norm(mean[:, axis], axis=1), 1.0)


def test_an_untrained_regression_does_not_overflow():
    assert np.isfinite(AXIS.size(np.full((1, 12), 1e4))).all()
    assert np.isfinite(AXIS.yaw(np.zeros((1, 12)))).all() and np.isfinite(AXIS.yaw(np.full((1, 12), -1e4))).all()
