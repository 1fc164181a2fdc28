"""Groups of channels: the plain form is the mean squared error; the normalised one sees neither scale nor shift."""

import pytest
import torch

from kd_training.batches.processes import ALONE
from kd_training.config.distill import LayerPair
from kd_training.config.feature_terms import ChannelGroupsConfig
from kd_training.distill.terms.channel_groups import ChannelGroupTerm, energy_shares
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch

PAIR = LayerPair("half", "block1")


def loss(student: torch.Tensor, teacher: torch.Tensor, groups: int = 3, *, normalised: bool = True) -> torch.Tensor:
    term = ChannelGroupTerm(PAIR, ChannelGroupsConfig(2.0, groups, normalised))
    return term(ComparedBatch(None, None, None, ALONE, {"half": AdaptedLayer(student, teacher)})).loss


def features(seed: int) -> torch.Tensor:
    return torch.randn(2, 12, 5, 4, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("groups", [1, 3, 12])
def test_the_plain_form_is_the_mean_squared_error_whatever_the_groups(groups):
    student, teacher = features(0).requires_grad_(), features(1)
    plain, error = loss(student, teacher, groups, normalised=False), 2.0 * (student - teacher).square().mean()
    torch.testing.assert_close(plain, error, rtol=1e-6, atol=0.0)
    slopes = [torch.autograd.grad(value, student)[0] for value in (plain, error)]
    torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-9)


def test_a_students_scale_and_shift_of_a_group_do_not_count_nor_does_the_teachers_scale():
    student, teacher = features(0), features(1)
    scale = torch.tensor([0.5, 3.0, 40.0]).repeat_interleave(4)[:, None, None]
    shift = torch.tensor([-2.0, 0.0, 7.0]).repeat_interleave(4)[:, None, None]
    once = loss(student, teacher)
    torch.testing.assert_close(loss(scale * student + shift, teacher), once, rtol=1e-3, atol=0.0)
    torch.testing.assert_close(loss(student, 30.0 * teacher), once, rtol=1e-3, atol=0.0)
    assert loss(scale * teacher + shift, teacher).item() == pytest.approx(0.0, abs=1e-4)


def test_a_group_counts_by_its_share_of_the_teachers_energy():
    teacher = features(1)
    teacher[:, :4] *= 8.0
    student = teacher.clone()
    student[:, 4:8] *= -1.0  # the opposite of a group: (Z + Z)^2 is 4 on average
    shares = energy_shares(teacher.reshape(2, 3, -1))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2))
    assert (shares[:, 0] > 0.7).all()
    torch.testing.assert_close(loss(student, teacher), 2.0 * 4.0 * shares[:, 1].mean(), rtol=1e-2, atol=0.0)


def test_dead_features_are_legal_and_only_the_student_learns():
    student, teacher = features(0).requires_grad_(), features(1).requires_grad_()
    loss(student, torch.zeros_like(teacher)).backward()
    assert torch.isfinite(student.grad).all()
    shares = energy_shares(teacher.reshape(2, 3, -1))
    assert not shares.requires_grad
