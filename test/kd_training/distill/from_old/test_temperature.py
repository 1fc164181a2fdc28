"""Elastic temperature: cases by hand, its bounds, and that a restored one goes on as before."""

import math

import pytest
import torch

from kd_training.batches.processes import ALONE
from kd_training.config.old_student import TemperatureConfig
from kd_training.distill.from_old.temperature import (
    HIGHEST,
    LOWEST,
    ElasticTemperature,
    binary_entropy,
    divergence,
    temperature,
)

HALF = math.log(2.0)


def logit(probability: float) -> float:
    return math.log(probability / (1.0 - probability))


@pytest.mark.parametrize(
    ("entropy", "drift", "expected"),
    [
        (0.0, 0.0, 2.0),  # sure, and where it was: T0
        (HALF, 0.0, 4.0),  # wholly unsure: T0 (1 + a)
        (HALF / 2, 0.25, 2.5),  # 2 (1 + .5 - .25)
        (0.0, 0.5, 1.0),  # drifted: firmer
        (0.0, 3.0, LOWEST),
    ],
)
def test_cases_by_hand(entropy, drift, expected):
    config = TemperatureConfig(start=2.0, entropy=1.0, drift=1.0)
    found = temperature(config, torch.tensor([entropy]), torch.tensor([drift]))
    assert found.item() == pytest.approx(expected)


def test_temperatures_stay_within_their_bounds():
    generator = torch.Generator().manual_seed(0)
    for a, b, start in ((0.0, 9.0, 1.0), (9.0, 0.0, 4.0), (2.0, 2.0, 30.0)):
        config = TemperatureConfig(start=start, entropy=a, drift=b)
        entropy, drift = HALF * torch.rand(50, generator=generator), 5.0 * torch.rand(50, generator=generator)
        found = temperature(config, entropy, drift)
        assert (found >= LOWEST).all() and (found <= HIGHEST).all()


def test_entropy_and_divergence_of_known_probabilities():
    old, new = torch.tensor([logit(0.5), logit(0.9)]), torch.tensor([logit(0.25), logit(0.9)])
    assert binary_entropy(old).tolist() == pytest.approx([HALF, -0.9 * math.log(0.9) - 0.1 * math.log(0.1)])
    assert divergence(old, new).tolist() == pytest.approx([0.5 * math.log(2.0) + 0.5 * math.log(0.5 / 0.75), 0.0])


def maps(*probabilities: float) -> torch.Tensor:
    """One rig, one cell, a class each."""
    return torch.tensor([logit(value) for value in probabilities]).reshape(1, -1, 1, 1)


def test_drift_is_an_average_over_batches_that_show_the_class():
    elastic = ElasticTemperature(TemperatureConfig(ema=0.5), classes=2)
    old, gone = maps(0.5, 0.5), maps(0.25, 0.5)
    first = 0.5 * math.log(2.0) + 0.5 * math.log(0.5 / 0.75)
    elastic.observe(old, gone, torch.tensor([True, False]).reshape(1, 2, 1, 1), ALONE)
    assert elastic.drift.tolist() == pytest.approx([first, 0.0])  # the first batch counts whole
    elastic.observe(old, old, torch.ones(1, 2, 1, 1, dtype=torch.bool), ALONE)
    assert elastic.drift.tolist() == pytest.approx([first / 2, 0.0])


def test_a_class_out_of_sight_keeps_its_temperature_and_a_constant_one_never_moves():
    elastic = ElasticTemperature(TemperatureConfig(start=2.0, entropy=1.0, drift=0.0), classes=2)
    seen = torch.tensor([True, False]).reshape(1, 2, 1, 1)
    assert elastic.of(maps(0.5, 0.5), seen, ALONE).tolist() == pytest.approx([4.0, 2.0])
    assert elastic.of(maps(0.5, 0.5), ~seen, ALONE).tolist() == pytest.approx([4.0, 4.0])
    constant = ElasticTemperature(TemperatureConfig(elastic=False, start=3.0), classes=2)
    constant.observe(maps(0.5, 0.5), maps(0.9, 0.1), seen, ALONE)
    assert constant.of(maps(0.5, 0.5), seen, ALONE).tolist() == [3.0, 3.0]
    assert not constant.drift.any()


def test_a_restored_one_goes_on_as_before():
    config, seen = TemperatureConfig(ema=0.9), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    straight, restored = (ElasticTemperature(config, 1) for _ in range(2))
    straight.observe(maps(0.6), maps(0.2), seen, ALONE)
    restored.load_state_dict(straight.state_dict())
    for elastic in (straight, restored):
        elastic.observe(maps(0.6), maps(0.3), seen, ALONE)
    assert torch.equal(straight.drift, restored.drift)
    assert torch.equal(straight.of(maps(0.6), seen, ALONE), restored.of(maps(0.6), seen, ALONE))
