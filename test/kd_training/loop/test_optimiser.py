"""The optimiser's groups, the schedule, gradients of model and adapters clipped together, the average of the
weights."""

import math
import warnings

import pytest
import torch
from torch import nn

from kd_training.config.sections import ScheduleConfig
from kd_training.loop.forward_backward import TrainingError, check_gradients
from kd_training.loop.optimiser import build_optimizer, clip_gradients, rate_factor
from kd_training.loop.weight_average import averaged_model, averaged_parameters


def student() -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})


def test_parts_learn_at_their_share_and_adapters_at_the_whole_rate():
    model, adapters = student(), nn.ModuleDict({"backbone": nn.Linear(2, 2)})
    model["head"].bias.requires_grad_(False)
    optimizer = build_optimizer(model, adapters, {"backbone": 0.5}, ScheduleConfig(learning_rate=0.1, weight_decay=0.3))
    of = {id(value): group for group in optimizer.param_groups for value in group["params"]}
    assert (of[id(model["backbone"].weight)]["peak"], of[id(model["backbone"].weight)]["weight_decay"]) == (0.05, 0.3)
    assert (of[id(model["head"].weight)]["peak"], of[id(model["backbone"].bias)]["weight_decay"]) == (0.1, 0.0)
    assert of[id(adapters["backbone"].weight)]["peak"] == 0.1  # the model's multipliers do not apply to adapters
    assert id(model["head"].bias) not in of and len(of) == 5


def with_gradients(module: nn.Module, value: float) -> nn.Module:
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, value)
    return module


def test_model_and_adapters_are_clipped_by_one_factor_and_report_their_own_norms():
    model, adapters = with_gradients(student(), 0.5), with_gradients(nn.Linear(2, 2), 2.0)
    ours, theirs = 0.5 * math.sqrt(12), 2.0 * math.sqrt(6)
    norms = clip_gradients(model, adapters, 1.0)
    assert norms == {"gradient_norm": pytest.approx(ours), "adapters_gradient_norm": pytest.approx(theirs)}
    factor = 1.0 / math.hypot(ours, theirs)
    torch.testing.assert_close(model["head"].weight.grad, torch.full((2, 2), 0.5 * factor))
    torch.testing.assert_close(adapters.weight.grad, torch.full((2, 2), 2.0 * factor))
    assert clip_gradients(model, adapters, 5.0) == {name: pytest.approx(norm * factor) for name, norm in norms.items()}
    torch.testing.assert_close(adapters.weight.grad, torch.full((2, 2), 2.0 * factor))  # short enough: as it was


def test_adapters_without_parameters_have_no_norm():
    model = with_gradients(student(), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clip_gradients(model, nn.Identity(), 1.0) == {"gradient_norm": pytest.approx(0.1 * math.sqrt(12))}


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_the_run(norm):
    check_gradients({"gradient_norm": 1e9}, 3)
    with pytest.raises(TrainingError, match="the adapters_gradient_norm is (nan|inf) at step 3 although every loss"):
        check_gradients({"gradient_norm": 1.0, "adapters_gradient_norm": norm}, 3)


def test_the_rate_rises_then_falls_to_zero():
    factors = [rate_factor(step, 10, 4) for step in range(10)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(a > b for a, b in zip(factors[4:], factors[5:], strict=False)) and 0.0 < factors[-1] < 0.1


def test_the_average_starts_with_the_model_and_forgets_the_start_soon():
    """avg <- d avg + (1 - d) model, d = min(decay, (1 + step) / (10 + step)); buffers and frozen parts are copies."""
    torch.manual_seed(0)
    model, decay = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), 0.3
    model[0].bias.requires_grad_(requires_grad=False)
    average = averaged_model(model, decay)
    expected = {name: value.detach().clone().double() for name, value in model.named_parameters()}
    for step in range(12):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += parameter.requires_grad * torch.randn(parameter.shape)
            model[1].running_mean += 1.0
        average.update_parameters(model)
        warm = min(decay, (1.0 + step) / (10.0 + step))
        for name, value in model.named_parameters():
            expected[name] = warm * expected[name] + (1.0 - warm) * value.detach().double()
            torch.testing.assert_close(
                average.module.get_parameter(name).double(), expected[name], rtol=1e-5, atol=1e-6
            )
    assert torch.equal(average.module[1].running_mean, torch.full((3,), 12.0))
    assert averaged_parameters(average).keys() == {"0.weight", "1.weight", "1.bias"}
