"""View transforms in torch: `pull` and `splat`, each in a training form and in the form of the student file.

Training sums over a flat list of terms, weight x depth probability x feature -> cell (index_add), for a whole batch of
rigs. The file form takes the tables of `student.view_tables` as they are, with operators that every engine has.
Both give the same sums.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import ViewSpec
from kd_perception.student.view_tables.splat import LEVELS


def sum_terms(probability: Tensor, context: Tensor, terms: Mapping[str, Tensor], cells: int) -> Tensor:
    """Training form. probability (all points,), context (all pixels, C), terms of a whole batch -> (cells, C) float32.

    `terms`: cell, pixel, depth (K,) int64 with the batch's offsets added, weight (K,).
    """
    weight = probability.float()[terms["depth"]] * terms["weight"]
    return _WeightedGatherSum.apply(context.float(), weight, terms["pixel"], terms["cell"], cells)


class _WeightedGatherSum(torch.autograd.Function):
    """out[cell] += weight * rows[pixel], without keeping the (K, C) products for the backward pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, weight: Tensor, pixel: Tensor, cell: Tensor, cells: int) -> Tensor:
        ctx.save_for_backward(rows, weight, pixel, cell)
        out = rows.new_zeros(cells, rows.shape[1])
        return out.index_add_(0, cell, rows[pixel] * weight[:, None])

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        rows, weight, pixel, cell = ctx.saved_tensors
        term = gradient[cell]
        row_gradient = torch.zeros_like(rows).index_add_(0, pixel, term * weight[:, None])
        return row_gradient, torch.einsum("kc,kc->k", term, rows[pixel]), None, None, None


class PullView(nn.Module):
    """File form of `pull`: depth probabilities (N, D, h, w) and context (N, C, h, w) -> BEV (1, C, rows, columns)."""

    table_names = ("pixel_index", "depth_index", "weight")

    def __init__(self, grid: BevGrid, view: ViewSpec) -> None:
        super().__init__()
        self.shape = grid.shape
        self.heights = len(view.heights)

    def forward(
        self, probability: Tensor, context: Tensor, pixel_index: Tensor, depth_index: Tensor, weight: Tensor
    ) -> Tensor:
        channels = context.shape[1]
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        flat = probability.reshape(-1)
        bev = 0.0
        for source in range(2):
            scale = flat.index_select(0, depth_index[source]) * weight[source]
            bev = bev + rows.index_select(0, pixel_index[source]) * scale.unsqueeze(1)
        bev = bev.reshape(self.heights, self.shape[0] * self.shape[1], channels).sum(dim=0)
        return bev.reshape(1, *self.shape, channels).permute(0, 3, 1, 2)  # channels last in memory


class SplatView(nn.Module):
    """File form of `splat`: as PullView, summing by the tree of `student.view_tables.splat`."""

    table_names = (
        "pixel_index", "depth_index",
        *(f"{side}_{level}" for level in range(1, LEVELS + 1) for side in ("left", "right")),
        "cell_index",
    )  # fmt: skip

    def __init__(self, grid: BevGrid, view: ViewSpec) -> None:
        super().__init__()
        self.shape = grid.shape

    def forward(
        self, probability: Tensor, context: Tensor, pixel_index: Tensor, depth_index: Tensor, *tree: Tensor
    ) -> Tensor:
        channels = context.shape[1]
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        flat = torch.cat([probability.reshape(-1), probability.new_zeros(1)])
        level = rows.index_select(0, pixel_index) * flat.index_select(0, depth_index).unsqueeze(1)
        for left, right in zip(tree[0:-1:2], tree[1:-1:2], strict=True):
            level = level.index_select(0, left) + level.index_select(0, right)
        bev = level.index_select(0, tree[-1])
        return bev.reshape(1, *self.shape, channels).permute(0, 3, 1, 2)  # channels last in memory


def build_view(grid: BevGrid, view: ViewSpec) -> PullView | SplatView:
    """The file form that the spec names."""
    return {"pull": PullView, "splat": SplatView}[view.kind](grid, view)
