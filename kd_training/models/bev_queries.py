"""BEVFormer's encoder (arXiv:2203.17270): learnt BEV queries that look at the cameras and at an earlier frame's map.

Differences from the paper: no embedding of camera numbers, so that any rig may be used; instead of CAN bus signals the
queries are told whether there is an earlier frame and how old it is; a point takes at most two cameras; no dropout.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.config.sections import QueryAttentionConfig
from kd_training.models.deformable import CameraPoints, SpatialCrossAttention, TemporalSelfAttention

FORWARD_WIDTH = 2  # hidden channels of the feed-forward part, in widths of a query


class EarlierMap(NamedTuple):
    """B rigs' maps of an earlier frame, as MEMORY_INPUTS: feature (B, C, rows, columns) on the queries' cells, warp (B,
    rows', columns', 2) of the grid's cells, valid (B,), interval (B,) in seconds."""

    feature: Tensor
    warp: Tensor
    valid: Tensor
    interval: Tensor


class QueryLayer(nn.Module):
    """Temporal self-attention, spatial cross-attention and a feed-forward part, each added and normalised."""

    def __init__(
        self, channels: int, features: int, heights: int, shape: tuple[int, int], config: QueryAttentionConfig
    ) -> None:
        super().__init__()
        self.temporal = TemporalSelfAttention(channels, config.heads, shape)
        places = (config.levels, heights, config.points)
        self.spatial = SpatialCrossAttention(channels, features, config.heads, places)
        wide = FORWARD_WIDTH * channels
        self.forward_part = nn.Sequential(nn.Linear(channels, wide), nn.ReLU(), nn.Linear(wide, channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(3))

    def forward(
        self, queries: Tensor, position: Tensor, earlier: Tensor, levels: Sequence[Tensor], seen: CameraPoints
    ) -> Tensor:
        """Queries, earlier map (B, Q, C), position (Q, C), camera maps (N, features, ...) -> queries (B, Q, C)."""
        queries = self.norms[0](queries + self.temporal(queries + position, queries, earlier))
        looked = self.spatial((queries + position).flatten(0, 1), levels, seen).reshape(queries.shape)
        queries = self.norms[1](queries + looked)
        return self.norms[2](queries + self.forward_part(queries))


class BevQueries(nn.Module):
    """The encoder as a view transform: camera maps in, BEV map out, of one query a cell of `shape`."""

    table_names = ("reference_points", "reference_camera", "reference_seen")

    def __init__(
        self, shape: tuple[int, int], heights: int, channels: int, features: int, config: QueryAttentionConfig
    ) -> None:
        """`shape`: rows and columns of queries; `channels` of a query, `features` of the camera maps."""
        super().__init__()
        self.shape, self.stride = shape, config.query_stride
        self.queries = nn.Parameter(torch.randn(shape[0] * shape[1], channels))
        self.rows = nn.Parameter(torch.rand(shape[0], 1, channels))
        self.columns = nn.Parameter(torch.rand(1, shape[1], channels))
        self.age = nn.Linear(2, channels)
        self.level = nn.Parameter(torch.randn(config.levels, features, 1, 1))
        self.layers = nn.ModuleList(
            QueryLayer(channels, features, heights, shape, config) for _ in range(config.layers)
        )

    def forward(
        self, levels: Sequence[Tensor], camera_valid: Tensor, tables: Sequence[Tensor], memory: EarlierMap
    ) -> Tensor:
        """File form, one rig: maps (N, features, rows_l, columns_l), camera_valid (N,), tables as `table_names` ->
        BEV map (1, C, rows, columns).
        """
        places, camera, seen = tables
        visible = seen * camera_valid.index_select(0, camera.reshape(-1)).reshape(seen.shape)
        points = CameraPoints(
            places.flatten(0, 1), camera.flatten(0, 1).float(), visible.flatten(0, 1), visible.sum(dim=0), None
        )
        return self._encoded(levels, points, memory)

    def batched(
        self, levels: Sequence[Tensor], camera_valid: Tensor, terms: Mapping[str, Tensor], memory: EarlierMap
    ) -> Tensor:
        """Training form, B rigs: `terms` are the tables with a first axis of rigs, cameras counted over the batch ->
        (B, C, rows, columns). What no camera sees is left out.
        """
        places, camera, seen = (terms[name].transpose(1, 2).flatten(0, 1) for name in self.table_names)
        visible = seen * camera_valid.index_select(0, camera.reshape(-1)).reshape(seen.shape)
        query, source = torch.nonzero(visible.any(dim=2), as_tuple=True)  # of (B * Q, SOURCES, Z)
        points = CameraPoints(
            places[query, source], camera[query, source].float(), visible[query, source], visible.sum(dim=1), query
        )
        return self._encoded(levels, points, memory)

    def _encoded(self, levels: Sequence[Tensor], seen: CameraPoints, memory: EarlierMap) -> Tensor:
        valid = memory.valid.reshape(-1, 1)
        told = self.age(torch.cat([valid, valid * memory.interval.reshape(-1, 1)], dim=1)).unsqueeze(1)
        queries = self.queries + told  # (B, Q, C)
        position = (self.rows + self.columns).flatten(0, 1)
        earlier = self._aligned(memory).flatten(2).transpose(1, 2)
        earlier = earlier * valid.unsqueeze(1) + queries * (1.0 - valid.unsqueeze(1))  # the first frame sees itself
        levels = [features + self.level[index] for index, features in enumerate(levels)]
        for layer in self.layers:
            queries = layer(queries, position, earlier, levels, seen)
        return queries.transpose(1, 2).reshape(-1, self.queries.shape[1], *self.shape)

    def _aligned(self, memory: EarlierMap) -> Tensor:
        """The earlier map on the current cells (B, C, rows, columns), 0 where they lie outside of it."""
        warp = functional.avg_pool2d(memory.warp.permute(0, 3, 1, 2), self.stride)  # the middle of a query's cells
        warp = warp.permute(0, 2, 3, 1)
        return functional.grid_sample(memory.feature, warp, mode="bilinear", padding_mode="zeros", align_corners=False)
