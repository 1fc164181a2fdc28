"""Blocks side by side give what each gives alone: values, gradients, statistics."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from kd_training.models.joint_blocks import side_by_side
from kd_training.models.necks import ConvNormRelu


def blocks(*widths: int) -> nn.ModuleList:
    """Blocks over six channels whose norms differ."""
    torch.manual_seed(1)
    made = nn.ModuleList(ConvNormRelu(6, width) for width in widths)
    for block in made:
        for value in (block[1].weight, block[1].bias, block[1].running_mean):
            nn.init.normal_(value)
    return made


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_each_block_gives_what_it_gives_alone(training, layout):
    joint = blocks(4, 4, 8).train(training)
    alone = deepcopy(joint)
    x = torch.randn(2, 6, 5, 7).contiguous(memory_format=layout).requires_grad_()
    found, expected = side_by_side(joint, x), [block(x) for block in alone]
    torch.testing.assert_close(found, expected)
    assert all(part.is_contiguous(memory_format=layout) for part in found)
    factors = [torch.randn_like(part) for part in found]
    torch.testing.assert_close(
        torch.autograd.grad(found, [x, *joint.parameters()], factors),
        torch.autograd.grad(expected, [x, *alone.parameters()], factors),
        rtol=1e-4,
        atol=1e-5,
    )
    torch.testing.assert_close(joint.state_dict(), alone.state_dict())


def test_blocks_with_another_norm_are_computed_one_by_one():
    """As a run of several GPUs has them: their statistics are of all processes."""
    other = blocks(4, 4).eval()
    other[0][1] = nn.GroupNorm(2, 4)
    x = torch.randn(1, 6, 3, 3)
    torch.testing.assert_close(side_by_side(other, x), [block(x) for block in other])
