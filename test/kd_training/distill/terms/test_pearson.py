"""Standardised features: scale and shift of a channel do not count, on either side; unlike features do."""

import pytest
import torch

from kd_training.batches.processes import ALONE
from kd_training.config.distill import LayerPair, PearsonConfig
from kd_training.distill.terms.pearson import PearsonTerm
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch

TERM = PearsonTerm(LayerPair("half", "block1"), PearsonConfig(weight=3.0))


def loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return TERM(ComparedBatch(None, None, None, ALONE, {"half": AdaptedLayer(student, teacher)})).loss


def features(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(seed))


def test_scale_and_shift_of_a_channel_change_nothing():
    student, teacher = features(0), features(1)
    scale, shift = torch.tensor([0.1, 1.0, 40.0])[:, None, None], torch.tensor([5.0, -2.0, 0.0])[:, None, None]
    once = loss(student, teacher)
    torch.testing.assert_close(loss(scale * student + shift, teacher), once, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(loss(student, scale * teacher + shift), once, rtol=1e-3, atol=0.0)
    assert loss(scale * student + shift, student).item() == pytest.approx(0.0, abs=1e-4)


def test_it_is_twice_what_pearsons_correlation_lacks_of_one():
    student, teacher = features(0), features(1)
    rows = [value.transpose(0, 1).flatten(1) for value in (student, teacher)]
    correlation = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(*rows, strict=True)])
    torch.testing.assert_close(loss(student, teacher), 3.0 * 2.0 * (1.0 - correlation).mean())


def test_a_dead_channel_is_legal_on_either_side():
    student, teacher = features(0), features(1)
    student[:, 0], teacher[:, 1] = 0.0, 7.0
    student.requires_grad_()
    loss(student, teacher).backward()
    assert torch.isfinite(student.grad).all() and student.grad[:, 2].abs().sum() > 0.0
