"""Paired statistics with known numbers."""

import pytest

from kd_bench.ledger.intervals import estimate, paired


def test_intervals_are_students():
    """Mean 3, deviation sqrt(2.5), 5 seeds: 2.7764 * sqrt(2.5 / 5)."""
    found = estimate(dict(enumerate([1.0, 2.0, 3.0, 4.0, 5.0])))
    assert found.mean == pytest.approx(3.0) and found.half_width == pytest.approx(1.9632, abs=1e-4)
    assert found.low == pytest.approx(1.0368, abs=1e-4)
    assert found.clear and not estimate({0: 5.0}).clear


def test_pairing_takes_the_seeds_noise_out():
    """Gains of 1, 2 and 3 over baselines that lie far apart; a seed that only one side has does not count."""
    baseline = {0: 10.0, 1: 50.0, 2: 30.0, 7: 99.0}
    found = paired({0: 11.0, 1: 52.0, 2: 33.0, 5: 0.0}, baseline)
    assert (found.mean, found.count) == (pytest.approx(2.0), 3)
    assert found.half_width == pytest.approx(4.3027 / 3**0.5, abs=1e-4)
    assert paired({9: 1.0}, baseline) is None
