"""View transforms in torch, each in a training form and in the form of the student file.

`pull` is a backward projection: every BEV cell gathers features from the cameras. `splat` is a forward projection
(LSS, arXiv:2008.05711). The training form sums a flat list of terms, weight x depth probability x feature -> cell, for
a whole batch of rigs. The file form takes the tables of `student.view_tables` with operators that every engine has.
Both forms give the same sums.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from kd_perception.geometry.grid import BevGrid
from kd_perception.student.spec import ViewSpec
from kd_perception.student.view_tables.splat import LEVELS


def sum_terms(probability: Tensor, context: Tensor, terms: Mapping[str, Tensor], cells: int) -> Tensor:
    """Training form: probability (all points,), context (all pixels, C), terms of a batch -> (cells, C) float32.

    `terms` holds cell, pixel and depth (K,) int64, with the batch's offsets added and cells ascending; weight (K,).
    """
    weight = probability.float().index_select(0, terms["depth"]) * terms["weight"]
    rows, pixel, cell = context.float(), terms["pixel"], terms["cell"]
    summed = _sums(rows.detach(), _Segments(pixel, cell, cells), weight)  # the gradient of `weight` is PyTorch's own
    return _RowsLearnToo.apply(summed, rows, weight.detach(), (pixel, cell))


class _Segments(NamedTuple):
    """Terms in the order of the sums that they belong to: source and target (K,) int64, target < count."""

    source: Tensor
    target: Tensor
    count: int


def _sums(rows: Tensor, segments: _Segments, weight: Tensor) -> Tensor:
    """out[target] = sum of weight * rows[source]: (count, C), without the (K, C) products in memory."""
    ends = torch.bincount(segments.target, minlength=segments.count).cumsum(0)
    begins = functional.pad(ends[:-1], (1, 0))
    return functional.embedding_bag(segments.source, rows, begins, mode="sum", per_sample_weights=weight)


class _RowsLearnToo(torch.autograd.Function):
    """Passes sums on, and gives the rows their gradient: sums over the same terms in the order of their pixels.

    PyTorch's own way to that gradient takes twice as long.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, sums: Tensor, rows: Tensor, weight: Tensor, indices: tuple[Tensor, Tensor]) -> Tensor:
        """sums (cells, C), rows (P, C), weight (K,), indices: pixel and cell (K,) -> sums."""
        ctx.save_for_backward(weight, *indices)
        ctx.rows = len(rows)
        return sums.view_as(sums)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradient (cells, C) -> itself, and that of the rows (P, C)."""
        weight, pixel, cell = ctx.saved_tensors
        ordered, order = torch.sort(pixel.int(), stable=True)
        segments = _Segments(cell[order], ordered, ctx.rows)
        return gradient, _sums(gradient.contiguous(), segments, weight[order]), None, None


class PullView(nn.Module):
    """File form of `pull`: every cell and height gathers from up to two cameras."""

    table_names = ("pixel_index", "depth_index", "weight")

    def __init__(self, grid: BevGrid, view: ViewSpec) -> None:
        super().__init__()
        self.shape = grid.shape

    def forward(
        self, probability: Tensor, context: Tensor, pixel_index: Tensor, depth_index: Tensor, weight: Tensor
    ) -> Tensor:
        """Depth probabilities (N, D, h, w), context (N, C, h, w), tables -> BEV features (1, C, rows, columns).

        Each table is (2, heights x rows x columns): one row a source camera.
        """
        channels = context.shape[1]
        rows = context.permute(0, 2, 3, 1).reshape(-1, channels)
        flat = probability.reshape(-1)
        scale = flat.index_select(0, depth_index.reshape(-1)) * weight.reshape(-1)
        cells = self.shape[0] * self.shape[1]
        bev = 0.0
        for pixel, of_pixel in zip(pixel_index.reshape(-1).split(cells), scale.split(cells), strict=True):
            bev = bev + rows.index_select(0, pixel) * of_pixel.unsqueeze(1)  # a layer fits into the caches
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
