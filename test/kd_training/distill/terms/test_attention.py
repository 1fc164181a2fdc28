"""Spatial attention: its mean, its scale-freedom, and how many cells it is spread over."""

import pytest
import torch

from kd_training.config.distill import AttentionSource, FeatureConfig
from kd_training.distill.terms.attention import attention, attention_loss, effective_cells, energy
from kd_training.distill.terms.features import attention_weights, feature_loss


def features(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 4, 6, generator=torch.Generator().manual_seed(seed))


def test_energy_is_the_mean_absolute_value():
    value = torch.tensor([[[[1.0]], [[-3.0]]]], dtype=torch.bfloat16)
    assert energy(value).tolist() == [[[2.0]]] and energy(value).dtype == torch.float32


def test_attention_has_mean_one_and_prefers_strong_cells():
    strength = energy(features(0))
    result = attention(strength, 0.5)
    torch.testing.assert_close(result.mean(dim=(1, 2)), torch.ones(2))
    assert torch.equal(result[0].flatten().argsort(), strength[0].flatten().argsort())
    ratio = result[0, 0, 0] / result[0, 1, 1]
    expected = ((strength[0, 0, 0] - strength[0, 1, 1]) / strength[0].mean() / 0.5).exp()
    assert ratio.item() == pytest.approx(expected.item(), rel=1e-5)


def test_attention_does_not_depend_on_the_features_scale():
    torch.testing.assert_close(attention(energy(1000.0 * features(1)), 0.5), attention(energy(features(1)), 0.5))


def test_effective_cells_count_what_attention_is_spread_over():
    assert effective_cells(torch.ones(2, 4, 6)).item() == pytest.approx(24.0)
    half = torch.zeros(1, 4, 6)
    half[:, :2] = 7.0
    assert effective_cells(half).item() == pytest.approx(12.0)
    assert effective_cells(attention(torch.zeros(1, 4, 6), 0.5)).item() == pytest.approx(24.0)  # no features at all


def test_attention_weights_of_both_or_of_the_teacher_without_gradient():
    student, teacher = energy(features(2).requires_grad_()), energy(features(3))
    of_student, of_teacher = attention(student, 2.0).detach(), attention(teacher, 2.0)
    both = attention_weights(student, teacher, FeatureConfig())
    torch.testing.assert_close(both, (of_student + of_teacher) / 2.0)
    alone = attention_weights(student, teacher, FeatureConfig(attention_from=AttentionSource.teacher))
    torch.testing.assert_close(alone, of_teacher)
    assert not both.requires_grad


def test_losses_are_sums_divided_by_the_rigs():
    student, teacher = features(4), features(5)
    weights = torch.rand(2, 4, 6)
    expected = sum(
        weights[rig, row, column] * ((teacher - student)[rig, :, row, column] ** 2).sum()
        for rig in range(2) for row in range(4) for column in range(6)
    )  # fmt: skip
    assert feature_loss(student, teacher, weights).item() == pytest.approx(expected.item() / 2.0, rel=1e-5)
    gap = sum((energy(student) - energy(teacher))[rig].abs().sum() for rig in range(2)) / 2.0
    assert attention_loss(energy(student), energy(teacher)).item() == pytest.approx(gap.item(), rel=1e-5)


def test_attention_imitation_agrees_with_finite_differences():
    teacher = energy(features(6).double())
    student = features(7).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda value: attention_loss(value.abs().mean(dim=1), teacher.double()), student, eps=1e-7, atol=1e-5
    )
