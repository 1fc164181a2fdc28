"""Deformable attention (Deformable DETR, arXiv:2010.04159) as BEVFormer (arXiv:2203.17270) uses it, of plain operators.

A query looks at a few places around its reference points and adds up what it finds there, by weights that it chooses as
well. Places are read bilinearly (GridSample). Spatial cross-attention reads camera features around projected points,
temporal self-attention an earlier BEV map and the current queries.

All cameras of a batch stand one below the other in one tall image, a row of zeros above each. A place outside a
camera's image is read in such a row, never in a neighbour: the value is that of zero padding around each image.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_perception.student.view_tables.sources import SOURCES

EARLIER_POINTS = 4  # places that a head of temporal self-attention looks at, in each of the two maps
NOTHING_SEEN = 1e-6  # of a weight of 1: keeps a query that no camera sees at zero


class CameraPoints(NamedTuple):
    """The pillars of B x Q queries as R rows, each what one camera sees of one query's pillar of Z points.

    places (R, Z, 2): x, y as shares of the image; camera (R, Z): place in the batch; visible (R, Z): 1 or 0; cameras
    (B * Q, Z): how many see each point. query (R,): whose row it is; None: of one rig every query, SOURCES times.
    """

    places: Tensor
    camera: Tensor
    visible: Tensor
    cameras: Tensor
    query: Tensor | None

    def spread(self, values: Tensor) -> Tensor:
        """Values of the queries (B * Q, ...) at their rows (R, ...)."""
        if self.query is None:
            return values.repeat(SOURCES, *(1 for _ in values.shape[1:]))
        return values.index_select(0, self.query)

    def gathered(self, rows: Tensor) -> Tensor:
        """Sums over the rows (R, C) of each query (B * Q, C)."""
        if self.query is None:
            return rows.reshape(SOURCES, -1, rows.shape[1]).sum(dim=0)
        return rows.new_zeros(len(self.cameras), rows.shape[1]).index_add(0, self.query, rows)


class SpatialCrossAttention(nn.Module):
    """Queries look at camera features around where their pillars show.

    The weights of all places that a query sees add up to 1, over heights, levels and cameras.
    """

    def __init__(self, channels: int, features: int, heads: int, places: tuple[int, int, int]) -> None:
        """`features`: channels of the camera maps; `places`: levels, heights of a pillar, points around each."""
        super().__init__()
        self.heads, self.places = heads, places
        self.value = nn.Conv2d(features, channels, 1)
        self.offsets = nn.Linear(channels, heads * math.prod(places) * 2)
        self.weights = nn.Linear(channels, heads * math.prod(places))
        self.output = nn.Linear(channels, channels)
        _look_around(self.offsets, heads, math.prod(places[:2]), places[2])
        _weigh_alike(self.weights)

    def forward(self, queries: Tensor, levels: Sequence[Tensor], seen: CameraPoints) -> Tensor:
        """Queries (B * Q, C), camera maps (N, features, rows_l, columns_l) -> what they see (B * Q, C)."""
        offsets = seen.spread(self.offsets(queries).float()).reshape(-1, self.heads, *self.places, 2)
        weights = seen.spread(self.chosen_weights(queries, seen.cameras))
        weights = weights * seen.visible[:, None, None, :, None]
        total = 0.0
        for level, features in enumerate(levels):
            total = total + self._read(features, offsets[:, :, level], weights[:, :, level], seen)
        return self.output(seen.gathered(total))

    def chosen_weights(self, queries: Tensor, cameras: Tensor) -> Tensor:
        """Weights (B * Q, heads, levels, heights, points) of queries (B * Q, C).

        Each counts once for every camera that sees its point (B * Q, heights), and so they add up to 1.
        """
        flat = self.weights(queries).float().reshape(-1, self.heads, math.prod(self.places))
        weights = torch.softmax(flat, dim=2).reshape(-1, self.heads, *self.places)
        seen = (weights * cameras[:, None, None, :, None]).flatten(2).sum(dim=2)
        return weights / (seen + NOTHING_SEEN)[:, :, None, None, None]

    def _read(self, features: Tensor, offsets: Tensor, weights: Tensor, seen: CameraPoints) -> Tensor:
        """One level (N, features, rows, columns), offsets in its pixels (R, heads, Z, P, 2), weights (R, heads, Z, P)
        -> weighted sums (R, C).
        """
        value = self.value(features).float()
        value = torch.cat([torch.zeros_like(value[:, :, :1]), value], dim=2)
        cameras, channels, period, columns = value.shape  # a row of zeros, and then the camera's
        tall = value.transpose(0, 1).reshape(self.heads, channels // self.heads, cameras * period, columns)
        x = seen.places[:, None, :, None, 0] * columns + offsets[..., 0]
        y = seen.places[:, None, :, None, 1] * (period - 1) + offsets[..., 1]
        y = y.clamp(-0.5, period - 0.5) + 1.0 + seen.camera[:, None, :, None] * period
        places = torch.stack([2.0 * x / columns - 1.0, 2.0 * y / (cameras * period) - 1.0], dim=-1)
        read = _bilinear(tall, places.flatten(2, 3).transpose(0, 1))  # (heads, C / heads, R, Z * P)
        summed = (read * weights.flatten(2).transpose(0, 1).unsqueeze(1)).sum(dim=3)
        return summed.permute(2, 0, 1).flatten(1)


class TemporalSelfAttention(nn.Module):
    """Queries look at the BEV map of an earlier frame and at each other, around their own cells."""

    def __init__(self, channels: int, heads: int, shape: tuple[int, int]) -> None:
        """`shape`: rows and columns of the queries."""
        super().__init__()
        self.heads, self.shape = heads, shape
        self.value = nn.Linear(channels, channels)
        self.offsets = nn.Linear(2 * channels, 2 * heads * EARLIER_POINTS * 2)
        self.weights = nn.Linear(2 * channels, 2 * heads * EARLIER_POINTS)
        self.output = nn.Linear(channels, channels)
        _look_around(self.offsets, 2 * heads, 1, EARLIER_POINTS)
        _weigh_alike(self.weights)
        y, x = torch.meshgrid(torch.arange(shape[0]) + 0.5, torch.arange(shape[1]) + 0.5, indexing="ij")
        self.register_buffer("cells", torch.stack([x, y], dim=-1).reshape(-1, 1, 2), persistent=False)

    def forward(self, queries: Tensor, now: Tensor, earlier: Tensor) -> Tensor:
        """Queries, and the two maps that are read: each (B, Q, C) -> what they see (B, Q, C), the mean of both."""
        rigs, count, channels = now.shape
        both = self.value(torch.cat([earlier, now])).float().transpose(1, 2)
        maps = both.reshape(2 * rigs * self.heads, channels // self.heads, *self.shape)
        asked = torch.cat([earlier, queries], dim=2)
        offsets = self.offsets(asked).float().reshape(rigs, count, 2, self.heads, EARLIER_POINTS, 2)
        weights = self.weights(asked).float().reshape(rigs, count, 2, self.heads, EARLIER_POINTS)
        offsets = offsets.permute(2, 0, 3, 1, 4, 5).reshape(-1, count, EARLIER_POINTS, 2)
        weights = torch.softmax(weights, dim=4).permute(2, 0, 3, 1, 4).reshape(-1, 1, count, EARLIER_POINTS)
        rows, columns = self.shape
        x, y = (self.cells + offsets).unbind(dim=3)
        places = torch.stack([2.0 * x / columns - 1.0, 2.0 * y / rows - 1.0], dim=-1)
        seen = (_bilinear(maps, places) * weights).sum(dim=3)  # (2 * B * heads, C / heads, Q)
        return self.output(seen.reshape(2, rigs, channels, count).mean(dim=0).transpose(1, 2))


def _bilinear(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (n, c, rows, columns) read at places (n, R, K, 2), -1 to 1 from border to border -> (n, c, R, K)."""
    return functional.grid_sample(maps, places, mode="bilinear", padding_mode="zeros", align_corners=False)


def _look_around(offsets: nn.Linear, heads: int, repeats: int, points: int) -> None:
    """Begin with each head looking in a direction of its own, each point one pixel further; of every query alike."""
    angle = torch.arange(heads) * (2.0 * math.pi / heads)
    towards = torch.stack([angle.cos(), angle.sin()], dim=1)
    towards = towards / towards.abs().amax(dim=1, keepdim=True)
    steps = torch.arange(1, points + 1)
    nn.init.zeros_(offsets.weight)
    with torch.no_grad():
        places = towards[:, None, None, :] * steps[None, None, :, None]
        offsets.bias.copy_(places.expand(heads, repeats, points, 2).reshape(-1))


def _weigh_alike(weights: nn.Linear) -> None:
    nn.init.zeros_(weights.weight)
    nn.init.zeros_(weights.bias)
