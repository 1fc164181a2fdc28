"""Errors of box codes: what they are zero for, what a turn costs, and where an ambiguous truth has its minimum."""

import numpy as np
import pytest
import torch

from kd_perception.student.box_codes import AXIS, VECTOR
from kd_training.losses.box_codes import as_targets, code_errors

YAWS = torch.linspace(-3.1, 3.1, 25)


def targets_of(yaw: torch.Tensor) -> torch.Tensor:
    codes = torch.zeros(len(yaw), len(AXIS.names))
    heading = torch.stack([torch.sin(2 * yaw), torch.cos(2 * yaw), torch.cos(yaw), torch.sin(yaw)], dim=1)
    codes[:, AXIS.headings] = heading
    return codes


def outputs_of(yaw: torch.Tensor) -> torch.Tensor:
    """What a network that is right gives: directions as logits."""
    codes = targets_of(yaw)
    codes[:, AXIS.directions] = torch.logit((1.0 + codes[:, AXIS.directions]) / 2.0, eps=1e-7)
    return codes


def test_what_is_right_costs_nothing_and_a_turn_leaves_the_axis_alone():
    assert code_errors(outputs_of(YAWS), targets_of(YAWS), AXIS).max() < 1e-5
    turned = code_errors(outputs_of(YAWS + torch.pi), targets_of(YAWS), AXIS)
    assert turned[:, : AXIS.directions.start].max() < 1e-5
    assert (turned[:, AXIS.directions].sum(dim=1) > 0.5).all()


def test_velocities_are_compared_in_metres_per_second():
    for coding in (VECTOR, AXIS):
        outputs, targets = torch.zeros(1, len(coding.names)), torch.zeros(1, len(coding.names))
        outputs[0, -1] = 1.0
        errors = code_errors(outputs, targets, coding)
        assert errors[0, -1] == coding.velocity_unit and errors.sum() == coding.velocity_unit


def test_unknown_targets_cost_nothing_and_have_no_gradient():
    outputs = torch.randn(2, len(AXIS.names), requires_grad=True)
    targets = targets_of(YAWS[:2])
    targets[0, AXIS.headings], targets[1, AXIS.velocities] = torch.nan, torch.nan
    errors = code_errors(outputs, targets, AXIS)
    assert not errors[0, AXIS.headings].any() and not errors[1, AXIS.velocities].any()
    errors.sum().backward()
    assert torch.isfinite(outputs.grad).all() and not outputs.grad[0, AXIS.headings].any()
    assert outputs.grad[1, AXIS.headings].all()


@pytest.mark.parametrize("yaw", [0.3, 1.5, -2.7])
def test_the_minimum_of_an_ambiguous_truth_points_to_the_likelier_side(yaw: float):
    """Three of five boxes that look alike point one way: gradient descent on all of them, then what is decoded."""
    truth = targets_of(torch.tensor([yaw] * 3 + [yaw + np.pi] * 2))
    outputs = torch.zeros(1, len(AXIS.names), requires_grad=True)
    optimiser = torch.optim.Adam([outputs], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        code_errors(outputs.expand(5, -1), truth, AXIS).sum().backward()
        optimiser.step()
    toward = as_targets(outputs.detach(), AXIS)[0, AXIS.directions].numpy()
    np.testing.assert_allclose(toward, 0.2 * np.array([np.cos(yaw), np.sin(yaw)]), atol=0.02)
    assert AXIS.yaw(outputs.detach().numpy())[0] == pytest.approx(yaw, abs=0.05)


def test_the_directions_gradient_agrees_with_finite_differences():
    outputs, truth = outputs_of(YAWS).double() + 0.3, targets_of(YAWS).double()
    outputs.requires_grad_()
    code_errors(outputs, truth, AXIS)[:, AXIS.directions].sum().backward()
    step = 1e-3
    for channel in range(AXIS.directions.start, AXIS.directions.stop):
        moved = [outputs.detach().clone() for _ in range(2)]
        moved[0][:, channel] += step
        moved[1][:, channel] -= step
        up, down = (code_errors(each, truth, AXIS)[:, channel].double() for each in moved)
        torch.testing.assert_close(outputs.grad[:, channel], (up - down) / (2 * step), atol=1e-3, rtol=1e-2)


def test_a_teachers_outputs_are_targets_that_it_meets_itself():
    outputs = torch.randn(7, len(AXIS.names), generator=torch.Generator().manual_seed(0))
    errors = code_errors(outputs, as_targets(outputs, AXIS), AXIS)
    assert errors.abs().max() < 1e-5
