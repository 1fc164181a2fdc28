"""Necks: sizes of several maps, what reaches which of them; depth and context, which a file computes apart."""

from pathlib import Path

import onnx
import pytest
import torch

from kd_training.checkpoints.onnx_files import ExampleInputs, write_graph
from kd_training.models.necks import DepthContext, LevelsNeck, PyramidNeck

CHANNELS = (4, 6, 8)  # of the backbone's levels at strides 8, 16 and 32


@pytest.mark.parametrize(
    ("stride", "count", "rows"), [(8, 1, [16]), (8, 2, [16, 8]), (8, 4, [16, 8, 4, 2]), (16, 3, [8, 4, 2])]
)
def test_maps_begin_at_the_stride_and_halve(stride, count, rows):
    torch.manual_seed(0)
    neck = LevelsNeck(CHANNELS, 5, stride, count).eval()
    levels = [torch.rand(2, c, 16 // 2**i, 16 // 2**i, requires_grad=True) for i, c in enumerate(CHANNELS)]
    maps, _ = neck(levels)
    assert [tuple(map_.shape) for map_ in maps] == [(2, 5, size, size) for size in rows]
    reached = torch.autograd.grad(
        maps[0].sum(), levels, allow_unused=True, retain_graph=True
    )  # the finest has all that is coarser
    assert [gradient is not None for gradient in reached] == [stride == 8, True, True]
    sum(map_.square().sum() for map_ in maps).backward()
    assert all(parameter.grad is not None for parameter in neck.parameters())


def test_depth_and_context_are_computed_apart_in_the_file_and_the_same(tmp_path: Path):
    torch.manual_seed(0)
    module = DepthContext(6, bins=5, context=3).eval()
    features = torch.randn(2, 6, 4, 7)
    with torch.inference_mode():
        both = module.output(module.hidden(features))
        depth, context = module(features)
    torch.testing.assert_close(depth, both[:, :5])
    torch.testing.assert_close(context, both[:, 5:])
    example = ExampleInputs(("features",), (features.numpy(),))
    write_graph(module, example, ("depth", "context"), tmp_path / "apart.onnx", dynamic={})
    kinds = {node.op_type for node in onnx.load(tmp_path / "apart.onnx").graph.node}
    assert kinds <= {"Conv", "Relu", "Identity"}  # nothing that takes a map apart


def test_pictures_whose_size_is_no_multiple_of_32_keep_the_finer_levels_rows_and_columns():
    """192 x 528 pixels: stride 32 has 6 x 17 cells, the last half outside; each lies over the four of stride 16."""
    neck = PyramidNeck((1, 1, 1), 1, 8).eval()
    for lateral in neck.lateral:
        torch.nn.init.ones_(lateral.weight)
        torch.nn.init.zeros_(lateral.bias)
    coarsest = torch.rand(1, 1, 6, 17)
    sums = neck.sums([torch.zeros(1, 1, 24, 66), torch.zeros(1, 1, 12, 33), coarsest])
    wanted = coarsest.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)[:, :, :, :66]
    assert torch.equal(sums[0], wanted) and sums[1].shape == (1, 1, 12, 33)
