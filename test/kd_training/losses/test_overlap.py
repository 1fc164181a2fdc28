"""Distance-IoU: its minimum, a case by hand, what does not change it, and that boxes apart come together."""

import math

import pytest
import torch
from support.distillation import TEACHER_CHANNELS, box, make_ground_truth, random_boxes, random_outputs

from kd_perception.student.box_codes import AXIS, VECTOR, BoxCoding
from kd_training.config.sections import DetectionLossConfig
from kd_training.data.ground_truth import GroundTruth
from kd_training.losses.box_codes import smoothed
from kd_training.losses.detection import detection_losses
from kd_training.losses.overlap import distance_iou_loss

CELL = 0.8


def codes(yaw: float, size=(4.0, 2.0, 2.0), place=(0.0, 0.0, 0.0), coding: BoxCoding = AXIS) -> torch.Tensor:
    """One box as targets (1, codes): centre in metres from the cell's."""
    heading = [math.sin(yaw), math.cos(yaw)]
    if coding is AXIS:
        heading = [math.sin(2 * yaw), math.cos(2 * yaw), math.cos(yaw), math.sin(yaw)]
    return torch.tensor([[place[0] / CELL, place[1] / CELL, place[2], *map(math.log, size), *heading, 0.0, 0.0]])


@pytest.mark.parametrize("coding", [AXIS, VECTOR])
@pytest.mark.parametrize("yaw", [0.0, 0.7, -2.9])
def test_equal_boxes_cost_nothing_and_a_shift_along_the_length_what_it_costs_by_hand(coding, yaw):
    truth = codes(yaw, coding=coding)
    assert distance_iou_loss(truth, truth, coding, CELL).item() == pytest.approx(0.0, abs=1e-6)
    ahead = codes(0.3, place=(2 * math.cos(yaw), 2 * math.sin(yaw), 0.0), coding=coding)  # its own heading is none
    expected = 1.0 - 8.0 / 24.0 + 4.0 / (6.0**2 + 2.0**2 + 2.0**2)  # half of it is shared: 8 of 16 m^3
    assert distance_iou_loss(ahead, truth, coding, CELL).item() == pytest.approx(expected, rel=1e-5)


def test_scale_and_a_common_shift_change_nothing_and_it_stays_between_0_and_2():
    generator = torch.Generator().manual_seed(0)
    outputs, targets = (torch.randn(200, len(AXIS.names), generator=generator) for _ in range(2))
    once = distance_iou_loss(outputs, targets, AXIS, CELL)
    assert (once > 0.0).all() and (once < 2.0).all()
    larger = [value.clone() for value in (outputs, targets)]
    for value in larger:
        value[:, 2] *= 1.5
        value[:, 3:6] += math.log(1.5)
    torch.testing.assert_close(distance_iou_loss(*larger, AXIS, 1.5 * CELL), once, rtol=1e-4, atol=1e-5)
    shift = torch.zeros(len(AXIS.names))
    shift[:3] = torch.tensor([3.0, -2.0, 0.5])
    torch.testing.assert_close(
        distance_iou_loss(outputs + shift, targets + shift, AXIS, CELL), once, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("learnt", "found"),
    [(slice(0, 3), codes(0.0, place=(9.0, -7.0, 3.0))), (slice(3, 6), codes(0.0, size=(1.0, 4.0, 1.0)))],
    ids=["places that do not touch", "sizes"],
)
def test_descent_leads_to_the_true_box(learnt, found):
    truth, place = codes(0.7), found[:, learnt].clone().requires_grad_()
    optimiser = torch.optim.Adam([place], lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        moved = torch.cat([found[:, : learnt.start], place, found[:, learnt.stop :]], dim=1)
        loss = distance_iou_loss(moved, truth, AXIS, CELL).sum()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.15
    torch.testing.assert_close(place.detach(), truth[:, learnt], atol=0.15, rtol=0.0)


def test_a_class_without_a_heading_is_legal():
    truth, found = codes(0.0), codes(0.0, place=(0.3, 0.1, 0.0)).requires_grad_()
    truth[:, AXIS.headings] = torch.nan
    loss = distance_iou_loss(found, truth, AXIS, CELL)
    torch.testing.assert_close(loss, distance_iou_loss(found, codes(0.0), AXIS, CELL))
    loss.sum().backward()
    assert torch.isfinite(found.grad).all()


def test_smooth_errors_by_hand_and_the_direction_as_it_is():
    errors = torch.full((1, len(AXIS.names)), 0.05)
    errors[0, 0] = 3.0
    found = smoothed(errors, 0.1, AXIS)
    assert found[0, 0].item() == pytest.approx(2.95) and found[0, 1].item() == pytest.approx(0.0125)
    assert torch.equal(found[:, AXIS.directions], errors[:, AXIS.directions])


def _losses(truth: GroundTruth, config: DetectionLossConfig) -> dict[str, torch.Tensor]:
    return detection_losses(random_outputs(0, len(truth.boxes), TEACHER_CHANNELS), truth, config)


def test_the_triple_loss_is_an_option_of_the_detection_loss():
    truth = make_ground_truth([random_boxes(0, 5), box(1.0, 2.0, 4.0, 2.0)])
    plain, triple = _losses(truth, DetectionLossConfig()), _losses(truth, DetectionLossConfig(smooth=0.1, overlap=2.0))
    assert set(plain) == {"heatmap", "box"} and set(triple) == {"heatmap", "box", "overlap"}
    assert triple["heatmap"] == plain["heatmap"] and 0.0 < triple["box"] < plain["box"]
    assert triple["overlap"].item() == pytest.approx(
        2.0 * _losses(truth, DetectionLossConfig(overlap=1.0))["overlap"].item()
    )
    nothing = _losses(make_ground_truth([random_boxes(0, 0)]), DetectionLossConfig(overlap=1.0))
    assert nothing["overlap"].item() == 0.0
