"""Attention in three dimensions: its minimum, one height as a plane, heights that count, a target that stays."""

import pytest
import torch
from torch.nn import functional

from kd_training.batches.processes import ALONE
from kd_training.config.distill import LayerPair
from kd_training.config.feature_terms import VolumeAttentionConfig
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch
from kd_training.distill.terms.volume_attention import SMOOTHING, VolumeAttentionTerm, as_volume, strength

PAIR = LayerPair("half", "volume")


def loss(student: torch.Tensor, teacher: torch.Tensor, heights: int = 1) -> torch.Tensor:
    term = VolumeAttentionTerm(PAIR, VolumeAttentionConfig(weight=2.0), heights)
    return term(ComparedBatch(None, None, None, ALONE, {"half": AdaptedLayer(student, teacher)})).loss


def features(seed: int) -> torch.Tensor:
    return torch.rand(2, 6, 7, 5, generator=torch.Generator().manual_seed(seed))


def test_its_minimum_is_the_teacher_and_the_teachers_scale_does_not_count():
    student, teacher = features(0), features(1)
    assert loss(teacher, teacher).item() == 0.0 < loss(student, teacher).item()
    torch.testing.assert_close(loss(9.0 * student, 9.0 * teacher), loss(student, teacher))


def test_a_map_without_heights_is_the_plane():
    """One height: what a smoothing in two dimensions gives, since beyond the only height stands that height."""
    bev = features(0)
    along = torch.tensor(SMOOTHING)
    strong = (bev.mean(dim=1, keepdim=True) + bev.amax(dim=1, keepdim=True)) / 2.0
    plane = functional.conv2d(functional.pad(strong, (1,) * 4, mode="replicate"), torch.outer(along, along)[None, None])
    torch.testing.assert_close(strength(as_volume(bev, 1))[:, :, 0], plane)


def test_heights_are_channels_in_a_row():
    volume = torch.rand(1, 3, 2, 7, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(as_volume(volume.flatten(1, 2), 2), volume)


def test_the_same_features_at_another_height_cost():
    """Of an object low in the scene: to see it high up is worse than not to see it."""
    teacher, student = torch.zeros(1, 3, 4, 7, 5), torch.zeros(1, 3, 4, 7, 5)
    teacher[:, :, 0, 3, 2], student[:, :, 3, 3, 2] = 1.0, 1.0
    flat = [volume.flatten(1, 2) for volume in (student, teacher)]
    nothing = torch.zeros_like(flat[0])
    assert loss(*flat, heights=4) > loss(nothing, flat[1], heights=4) > 0.0


def test_imitation_counts_more_where_the_teacher_is_strong():
    teacher = torch.ones(1, 2, 9, 9)
    teacher[:, :, 2, 2] = 3.0
    near, far = teacher.clone(), teacher.clone()
    near[:, 0, 2, 2] += 2.0
    far[:, 0, 6, 6] += 2.0
    assert loss(near, teacher) > loss(far, teacher) > 0.0


def test_the_target_gets_no_gradient_and_nothing_is_legal():
    student, teacher = features(0).requires_grad_(), features(1).requires_grad_()
    loss(student, teacher, heights=3).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0.0
    assert loss(torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)).item() == pytest.approx(0.0)
