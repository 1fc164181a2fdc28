"""Figures of continual learning on matrices whose figures are known."""

import numpy as np
import pytest

from kd_bench.continual.metrics import (
    average_accuracy,
    backward_transfer,
    forgetting_since_learnt,
    forward_transfer,
    learning_gains,
    relative_forgetting,
)

# Domain 0 falls from .4 to .3 over a best of .5; domain 1 from .2 to .18; domain 2 is the last.
MATRIX = np.array([[0.4, 0.1, 0.05], [0.5, 0.2, 0.1], [0.3, 0.18, 0.3]])


def test_forgetting_is_relative_to_the_best_or_to_what_was_learnt():
    assert relative_forgetting(MATRIX) == pytest.approx((0.2 / 0.5 + 0.02 / 0.2) / 2)
    assert forgetting_since_learnt(MATRIX) == pytest.approx((0.1 / 0.4 + 0.02 / 0.2) / 2)


def test_nothing_is_forgotten_where_nothing_changes_and_all_where_nothing_is_left():
    same = np.full((3, 3), 0.3)
    gone = np.triu(same)
    for figure in (relative_forgetting, forgetting_since_learnt):
        assert figure(same) == 0.0 and figure(gone) == 1.0
    assert relative_forgetting(np.array([[0.4, 0.0], [0.5, 0.2]])) == pytest.approx(-0.25)


def test_transfer_back_ahead_and_averages():
    assert backward_transfer(MATRIX) == pytest.approx((-0.1 - 0.02) / 2)
    assert forward_transfer(MATRIX, np.zeros(3)) == pytest.approx((0.1 + 0.1) / 2)
    assert forward_transfer(MATRIX, MATRIX[0]) == pytest.approx((0.0 + 0.05) / 2)
    assert average_accuracy(MATRIX) == pytest.approx(0.26)
    assert learning_gains(MATRIX) == pytest.approx([0.1, 0.2])


def test_what_nobody_measured_is_not_guessed_and_what_nobody_ever_found_says_nothing():
    """Joint training has its last row alone; a domain of accuracy 0 has nothing to forget."""
    last_alone = np.full((3, 3), np.nan)
    last_alone[2] = 0.3
    assert np.isnan(relative_forgetting(last_alone)) and np.isnan(backward_transfer(last_alone))
    assert average_accuracy(last_alone) == pytest.approx(0.3)
    never = np.array([[0.0, 0.0, 0.0], [0.0, 0.2, 0.0], [0.0, 0.1, 0.1]])
    assert relative_forgetting(never) == forgetting_since_learnt(never) == pytest.approx(0.5)
    one = np.array([[0.4]])
    assert np.isnan(relative_forgetting(one)) and np.isnan(backward_transfer(one)) and average_accuracy(one) == 0.4
