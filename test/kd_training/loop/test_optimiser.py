"""The optimiser's groups, the schedule, and gradients of model and helper that are clipped apart."""

import math
import warnings

import pytest
import torch
from torch import nn

from kd_training.config.sections import ScheduleConfig
from kd_training.loop.gradients import TrainingError, check_gradients
from kd_training.loop.optimiser import build_optimizer, clip_gradients, rate_factor


def student() -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})


def test_parts_learn_at_their_share_and_helpers_at_the_whole_rate():
    model, helper = student(), nn.ModuleDict({"backbone": nn.Linear(2, 2)})
    model["head"].bias.requires_grad_(False)
    optimizer = build_optimizer(model, helper, {"backbone": 0.5}, ScheduleConfig(learning_rate=0.1, weight_decay=0.3))
    of = {id(value): group for group in optimizer.param_groups for value in group["params"]}
    assert (of[id(model["backbone"].weight)]["peak"], of[id(model["backbone"].weight)]["weight_decay"]) == (0.05, 0.3)
    assert (of[id(model["head"].weight)]["peak"], of[id(model["backbone"].bias)]["weight_decay"]) == (0.1, 0.0)
    assert of[id(helper["backbone"].weight)]["peak"] == 0.1  # a name of the model's says nothing about the helper
    assert id(model["head"].bias) not in of and len(of) == 5


def test_a_helper_with_large_gradients_does_not_shorten_the_models():
    model, helper = student(), nn.Linear(2, 2)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.1)
    for parameter in helper.parameters():
        parameter.grad = torch.full_like(parameter, 1e6)
    norms = clip_gradients(model, helper, 1.0)
    assert norms == {
        "gradient_norm": pytest.approx(0.1 * math.sqrt(12)),
        "helper_gradient_norm": pytest.approx(1e6 * math.sqrt(6)),
    }
    assert torch.allclose(model["head"].weight.grad, torch.tensor(0.1))
    assert helper.weight.grad.norm() < 1.0


def test_a_helper_without_parameters_has_no_norm():
    model = student()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clip_gradients(model, nn.Identity(), 1.0) == {"gradient_norm": pytest.approx(0.1 * math.sqrt(12))}


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_the_run(norm):
    check_gradients({"gradient_norm": 1e9}, 3)
    with pytest.raises(TrainingError, match="the helper_gradient_norm is (nan|inf) at step 3 although every loss"):
        check_gradients({"gradient_norm": 1.0, "helper_gradient_norm": norm}, 3)


def test_the_rate_rises_then_falls_to_zero():
    factors = [rate_factor(step, 10, 4) for step in range(10)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(a > b for a, b in zip(factors[4:], factors[5:], strict=False)) and 0.0 < factors[-1] < 0.1
