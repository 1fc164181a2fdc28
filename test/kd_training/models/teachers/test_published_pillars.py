"""The published pillar encoder, next to a plain loop over its pillars."""

import pytest
import torch

from kd_perception.errors import ConfigError
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import PointsConfig, PublishedPillarsConfig, TeacherModelConfig, VirtualPointsConfig
from kd_training.models.teachers.published_pillars import PublishedPillarEncoder

RASTER = BevGrid(-2.0, 2.0, -1.0, 1.0, 0.5)


def made(**shape) -> PublishedPillarEncoder:
    torch.manual_seed(0)
    config = TeacherModelConfig(name="t", pillar_channels=6, published_pillars=PublishedPillarsConfig(**shape))
    encoder = PublishedPillarEncoder(RASTER, config).double().eval()
    for layer in encoder.layers:
        torch.nn.init.normal_(layer[1].bias)
        torch.nn.init.normal_(layer[1].running_mean)
    return encoder


def one_by_one(encoder: PublishedPillarEncoder, points: torch.Tensor, rows: int, heights: bool) -> torch.Tensor:
    raster = torch.zeros(6, *RASTER.shape, dtype=torch.float64)
    cells = torch.stack([(points[:, 1] + 1.0) / 0.5, (points[:, 0] + 2.0) / 0.5], 1).long()
    for row, column in cells.unique(dim=0).tolist():
        own = points[(cells == torch.tensor([row, column])).all(1)]
        centre = torch.tensor([column * 0.5 - 1.75, row * 0.5 - 0.75, 1.0], dtype=torch.float64)
        values = torch.cat([own, own[:, :3] - own[:, :3].mean(0), (own[:, :3] - centre)[:, : 3 if heights else 2]], 1)
        if rows > len(own):
            values = torch.cat([values, torch.zeros(rows - len(own), values.shape[1], dtype=torch.float64)])
        for index, layer in enumerate(encoder.layers):
            values = layer(values)
            most = values.max(0).values
            if index < len(encoder.layers) - 1:
                values = torch.cat([values, most.expand_as(values)], 1)
        raster[:, row, column] = most
    return raster


@pytest.mark.parametrize(
    "shape",
    [{"layers": 1}, {"layers": 2}, {"layers": 1, "rows": 4}, {"layers": 1, "rows": 20, "centred_height": False}],
)
def test_every_pillar_is_what_a_loop_makes_of_its_points(shape):
    encoder = made(**shape)
    points = torch.rand(30, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    points = points * torch.tensor([4.0, 2.0, 3.0, 1.0, 0.5]) - torch.tensor([2.0, 1.0, 1.0, 0.0, 0.0])
    with torch.no_grad():
        found = encoder(PointBatch(points, torch.ones(30, dtype=torch.int64)), 2)
        expected = one_by_one(encoder, points, shape.get("rows", 0), shape.get("centred_height", True))
    torch.testing.assert_close(found[1], expected)
    assert not found[0].any()


def test_what_it_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="rows is for one layer"):
        made(layers=2, rows=20)
    points = PointsConfig(virtual=VirtualPointsConfig(per_instance=5))
    config = TeacherModelConfig(name="t", points=points, published_pillars=PublishedPillarsConfig(layers=1))
    with pytest.raises(ConfigError, match="take no virtual points"):
        PublishedPillarEncoder(RASTER, config)


def test_mixed_precision_moves_no_point():
    encoder, batch = made(layers=2), PointBatch(torch.rand(80, 5) * 3.0, torch.zeros(80, dtype=torch.long))
    encoder.float()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = encoder(batch, 1)
    assert mixed.any() and torch.equal(mixed, encoder(batch, 1))
