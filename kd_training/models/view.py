"""View transforms in torch, each in a training form and in the form of the student file.

`pull` is a backward projection: every BEV cell gathers features from the cameras. `splat` is a forward projection
(LSS, arXiv:2008.05711). The training form sums a flat list of terms, weight x depth probability x feature -> cell, for
a whole batch of rigs. The file form takes the tables of `student.view_tables` with operators that every engine has.
Both forms give the same sums.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import ViewSpec
from kd_perception.student.view_tables.splat import LEVELS


def sum_terms(probability: Tensor, context: Tensor, terms: Mapping[str, Tensor], cells: int) -> Tensor:
    """Training form: probability (all points,), context (all pixels, C), terms of a batch -> (cells, C) float32.

    `terms` holds cell, pixel and depth (K,) int64, with the batch's offsets added, and weight (K,).
    """
    weight = probability.float()[terms["depth"]] * terms["weight"]
    return _WeightedGatherSum.apply(context.float(), weight, (terms["pixel"], terms["cell"]), cells)


class _WeightedGatherSum(torch.autograd.Function):
    """out[cell] += weight * rows[pixel], without keeping the (K, C) products for the backward pass."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, weight: Tensor, indices: tuple[Tensor, Tensor], cells: int) -> Tensor:
        """rows (P, C), weight (K,), indices: pixel and cell (K,) -> (cells, C)."""
        pixel, cell = indices
        ctx.save_for_backward(rows, weight, pixel, cell)
        out = rows.new_zeros(cells, rows.shape[1])
        return out.index_add_(0, cell, rows[pixel] * weight[:, None])

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradient (cells, C) -> those of rows (P, C) and of weight (K,)."""
        rows, weight, pixel, cell = ctx.saved_tensors
        term = gradient[cell]
        row_gradient = torch.zeros_like(rows).index_add_(0, pixel, term * weight[:, None])
        return row_gradient, torch.einsum("kc,kc->k", term, rows[pixel]), None, None


class PullView(nn.Module):
    """File form of `pull`: every cell and height gathers from up to two cameras."""

    table_names = ("pixel_index", "depth_index", "weight")

    def __init__(self, grid: BevGrid, view: ViewSpec) -> None:
        super().__init__()
        self.shape = grid.shape
        self.heights = len(view.heights)

    def forward(
        self, probability: Tensor, context: Tensor, pixel_index: Tensor, depth_index: Tensor, weight: Tensor
    ) -> Tensor:
        """Depth probabilities (N, D, h, w), context (N, C, h, w), tables -> BEV features (1, C, rows, columns).

        Each table is (2, heights x rows x columns): one row a source camera.
        """
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
    """File form of `splat`: sums by the tree of `student.view_tables.splat`."""

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
        """Depth probabilities (N, D, h, w), context (N, C, h, w), tables -> BEV features (1, C, rows, columns)."""
        channels = context.shape[1]
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        flat = torch.cat([probability.reshape(-1), probability.new_zeros(1)])
        level = rows.index_select(0, pixel_index) * flat.index_select(0, depth_index).unsqueeze(1)
        for left, right in zip(tree[0:-1:2], tree[1:-1:2], strict=True):
            level = level.index_select(0, left) + level.index_select(0, right)
        bev = level.index_select(0, tree[-1])
        return bev.reshape(1, *self.shape, channels).permute(0, 3, 1, 2)  # channels last in memory


def build_view(grid: BevGrid, view: ViewSpec) -> PullView | SplatView:
    """The file form of the spec's view transform."""
    return {"pull": PullView, "splat": SplatView}[view.kind](grid, view)
