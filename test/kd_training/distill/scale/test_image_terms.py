"""Terms on images: nothing to learn where the student sees what the teacher sees; no gradient but the student's."""

import torch
from torch.nn import functional

from kd_training.batches.detector_outputs import ImagePyramid
from kd_training.batches.processes import ALONE
from kd_training.distill.scale.image_terms import PyramidLevel, depth_divergence
from kd_training.distill.scale.levels import LevelMatch
from kd_training.models.necks import TopDown

FINE, COARSE = TopDown((4, 6, 8), 5, 8), TopDown((4, 6, 8), 5, 16)
ALL = torch.ones(2)


def test_one_network_at_matched_levels_has_nothing_to_learn_and_masked_cameras_do_not_count():
    torch.manual_seed(0)
    level = PyramidLevel(LevelMatch(8, 16, 1.0), FINE, FINE)
    target = torch.rand(2, 5, 6, 9)
    own = target.clone().requires_grad_()
    student, teacher = ImagePyramid({8: own}), ImagePyramid({16: target})
    assert level(student, teacher, ALL, ALONE) == 0.0
    unlike = ImagePyramid({16: torch.cat([target[:1], 3.0 * target[1:]])})
    assert level(student, unlike, torch.tensor([1.0, 0.0]), ALONE) == 0.0
    loss = level(student, unlike, torch.tensor([0.0, 1.0]), ALONE)
    torch.testing.assert_close(loss, torch.tensor(2 / 3), rtol=1e-5, atol=0.0)  # |3 - 1| / 3
    loss.backward()
    assert own.grad[1].abs().sum() > 0 and not own.grad[0].any() and target.grad is None
    assert level(student, unlike, torch.zeros(2), ALONE) == 0.0


def test_a_level_that_the_neck_does_not_use_is_made_for_training_only():
    """Of a student of stride 16: its stride 8 imitates a teacher of stride 16 at twice the resolution."""
    torch.manual_seed(0)
    level = PyramidLevel(LevelMatch(8, 16, 1.0), COARSE, COARSE)
    below, half = torch.rand(1, 4, 6, 10, requires_grad=True), torch.rand(1, 5, 3, 5, requires_grad=True)
    target = ImagePyramid({16: torch.rand(1, 5, 6, 10)})
    level(ImagePyramid({16: half}, below), target, torch.ones(1), ALONE).backward()
    assert below.grad.any() and half.grad.any()
    assert all(value.grad is not None and value.grad.any() for value in level.parameters())
    assert not set(level.state_dict()) & set(COARSE.state_dict())


def test_depth_bins_are_compared_at_matched_pixels():
    """Twice the pixels: the teacher's four around a student's pixel have its centre in their middle."""
    torch.manual_seed(0)
    teacher = torch.randn(2, 7, 8, 12)
    mean = functional.avg_pool2d(torch.softmax(teacher, dim=1), 2)
    student = mean.log().requires_grad_()
    assert abs(depth_divergence(student, teacher, ALL, 2.0, ALONE)) < 1e-6
    moved = mean.roll(1, dims=3).log()
    expected = (mean * (mean.log() - moved)).sum(dim=1)
    loss = depth_divergence(moved.requires_grad_(), teacher, ALL, 2.0, ALONE)
    torch.testing.assert_close(loss, expected.mean())
    first = depth_divergence(moved, teacher, torch.tensor([1.0, 0.0]), 2.0, ALONE)
    torch.testing.assert_close(first, expected[0].mean())
    assert depth_divergence(moved, teacher, torch.zeros(2), 2.0, ALONE) == 0.0
