"""Deformable attention against a slow reference: every place of every query read one by one, bilinearly, by hand."""

import math

import pytest
import torch
from torch import Tensor

from kd_training.models import deformable
from kd_training.models.deformable import (
    EARLIER_POINTS,
    CameraPoints,
    SpatialCrossAttention,
    TemporalSelfAttention,
)

CHANNELS, FEATURES, HEADS = 4, 3, 2
LEVELS, HEIGHTS, POINTS = 2, 2, 2
CAMERAS, QUERIES, SOURCES = 3, 5, 2
SIZES = ((4, 6), (2, 3))  # rows and columns of the levels


def read_bilinearly(values: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values (channels, rows, columns) at one place in pixels, whose centres are at .5; zero outside -> (channels,)."""
    _, rows, columns = values.shape
    x, y = x - 0.5, y - 0.5
    left, top = math.floor(x.detach()), math.floor(y.detach())
    total = torch.zeros(len(values), dtype=values.dtype)
    for row, of_row in ((top, top + 1 - y), (top + 1, y - top)):
        for column, of_column in ((left, left + 1 - x), (left + 1, x - left)):
            if 0 <= row < rows and 0 <= column < columns:
                total = total + values[:, row, column] * of_row * of_column
    return total


def shaken(module: torch.nn.Module) -> torch.nn.Module:
    """In double precision, with weights as if trained: offsets reach beyond the maps."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = parameter.data.double() + torch.randn(parameter.shape, generator=generator).double()
    return module


class SlowRig:
    """What the cameras see of each query: places (SOURCES, Q, Z, 2), camera and visible (SOURCES, Q, Z)."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.places = torch.rand(SOURCES, QUERIES, HEIGHTS, 2, generator=generator).double()
        self.places[0, 0, 0] = torch.tensor([0.0, 1.0])  # a corner of the image
        self.camera = torch.randint(0, CAMERAS, (SOURCES, QUERIES, HEIGHTS), generator=generator)
        self.visible = (torch.rand(SOURCES, QUERIES, HEIGHTS, generator=generator) < 0.6).double()
        self.visible[:, 1] = 0.0  # a query that no camera sees

    def whole(self) -> CameraPoints:
        """As the student file has it."""
        tables = (self.places, self.camera.double(), self.visible)
        return CameraPoints(*(table.flatten(0, 1) for table in tables), self.visible.sum(dim=0), None)

    def used(self) -> CameraPoints:
        """As training has it: rows that see something."""
        source, query = torch.nonzero(self.visible.any(dim=2), as_tuple=True)
        tables = (self.places, self.camera.double(), self.visible)
        return CameraPoints(*(table[source, query] for table in tables), self.visible.sum(dim=0), query)


def slow_cross_attention(module: SpatialCrossAttention, queries: Tensor, levels: list[Tensor], rig: SlowRig) -> Tensor:
    shape = (QUERIES, HEADS, LEVELS, HEIGHTS, POINTS)
    offsets, logits = module.offsets(queries).reshape(*shape, 2), module.weights(queries).reshape(shape)
    values = [module.value(level).reshape(CAMERAS, HEADS, CHANNELS // HEADS, *level.shape[2:]) for level in levels]
    rows = []
    for query in range(QUERIES):
        heads = []
        for head in range(HEADS):
            total, weight_sum = torch.zeros(CHANNELS // HEADS).double(), 0.0
            for source in range(SOURCES):
                for height in range(HEIGHTS):
                    if not rig.visible[source, query, height]:
                        continue
                    camera, place = int(rig.camera[source, query, height]), rig.places[source, query, height]
                    for level, (row_count, column_count) in enumerate(SIZES):
                        for point in range(POINTS):
                            weight = logits[query, head, level, height, point].exp()
                            x, y = offsets[query, head, level, height, point]
                            x, y = x + place[0] * column_count, y + place[1] * row_count
                            total = total + weight * read_bilinearly(values[level][camera, head], x, y)
                            weight_sum = weight_sum + weight
            heads.append(total / weight_sum if isinstance(weight_sum, Tensor) else total)
        rows.append(torch.cat(heads))
    return module.output(torch.stack(rows))


@pytest.mark.parametrize("form", [SlowRig.whole, SlowRig.used])
def test_cross_attention_is_that_of_reading_place_by_place(form, monkeypatch):
    """Values and gradients of queries, features and weights; offsets reach beyond images, never into neighbours."""
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    monkeypatch.setattr(deformable, "NOTHING_SEEN", 1e-12)
    module = shaken(SpatialCrossAttention(CHANNELS, FEATURES, HEADS, (LEVELS, HEIGHTS, POINTS)))
    generator = torch.Generator().manual_seed(2)
    queries = torch.randn(QUERIES, CHANNELS, generator=generator).double().requires_grad_()
    levels = [torch.randn(CAMERAS, FEATURES, *size, generator=generator).double().requires_grad_() for size in SIZES]
    rig, factor = SlowRig(), torch.randn(QUERIES, CHANNELS, generator=generator).double()
    inputs = (queries, *levels, *module.parameters())

    got, expected = module(queries, levels, form(rig)), slow_cross_attention(module, queries, levels, rig)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got[1], module.output.bias)  # what no camera sees gets nothing
    for one, other in zip(
        torch.autograd.grad((got * factor).sum(), inputs),
        torch.autograd.grad((expected * factor).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_self_attention_is_that_of_reading_place_by_place(monkeypatch):
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    rows, columns, rigs = 3, 4, 2
    module = shaken(TemporalSelfAttention(CHANNELS, HEADS, (rows, columns)))
    generator = torch.Generator().manual_seed(3)
    queries, now, earlier = (
        torch.randn(rigs, rows * columns, CHANNELS, generator=generator).double().requires_grad_() for _ in range(3)
    )
    factor = torch.randn(rigs, rows * columns, CHANNELS, generator=generator).double()

    asked = torch.cat([earlier, queries], dim=2)
    shape = (rigs, rows * columns, 2, HEADS, EARLIER_POINTS)
    offsets = module.offsets(asked).reshape(*shape, 2)
    weights = torch.softmax(module.weights(asked).reshape(shape), dim=4)
    maps = torch.stack([module.value(earlier), module.value(now)], dim=1).transpose(2, 3)
    maps = maps.reshape(rigs, 2, HEADS, CHANNELS // HEADS, rows, columns)
    found = []
    for rig in range(rigs):
        for cell in range(rows * columns):
            for head in range(HEADS):
                total = 0.0
                for which in range(2):
                    for point in range(EARLIER_POINTS):
                        x, y = offsets[rig, cell, which, head, point]
                        x, y = x + cell % columns + 0.5, y + cell // columns + 0.5
                        read = read_bilinearly(maps[rig, which, head], x, y)
                        total = total + 0.5 * weights[rig, cell, which, head, point] * read
                found.append(total)
    expected = module.output(torch.stack(found).reshape(rigs, rows * columns, CHANNELS))

    got, inputs = module(queries, now, earlier), (queries, now, earlier, *module.parameters())
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad((got * factor).sum(), inputs),
        torch.autograd.grad((expected * factor).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_heads_begin_by_looking_in_directions_of_their_own():
    module = SpatialCrossAttention(CHANNELS, FEATURES, HEADS, (LEVELS, HEIGHTS, POINTS))
    places = module.offsets.bias.reshape(HEADS, LEVELS * HEIGHTS, POINTS, 2)
    torch.testing.assert_close(places[0, 0], torch.tensor([[1.0, 0.0], [2.0, 0.0]]))
    torch.testing.assert_close(places[1, 3], torch.tensor([[-1.0, 0.0], [-2.0, 0.0]]), atol=1e-6, rtol=0.0)
    assert not module.offsets.weight.any() and not module.weights.weight.any()
