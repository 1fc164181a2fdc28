"""The pillar encoder: the maximum over each pillar's points, with its gradient, rig by rig."""

import numpy as np
import pytest
import torch

from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.point_batch import PointBatch
from kd_training.models.teachers.pillars import PillarEncoder

RASTER = BevGrid(-4.0, 4.0, -2.0, 2.0, 1.0)  # 4 rows, 8 columns


def encoder(virtual: bool = False, channels: int = 6) -> PillarEncoder:
    torch.manual_seed(0)
    made = PillarEncoder(RASTER, channels, virtual=len(CLASSES) if virtual else 0).double().eval()
    torch.nn.init.normal_(made.norm.bias)
    return made


def cloud(seed: int, count: int, rigs: int = 1, columns: int = 5) -> PointBatch:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (count, columns)) * np.array([4.0, 2.0, 1.0, 1.0, 1.0, 0.0][:columns])
    return PointBatch(torch.from_numpy(points), torch.from_numpy(rng.integers(0, rigs, count)))


def test_every_pillar_holds_the_maximum_over_its_points_and_empty_ones_nothing():
    model, batch = encoder(), cloud(0, 20, rigs=2)
    raster = model(batch, 2)
    assert raster.shape == (2, 6, 4, 8)
    pillar, features, _ = model._features(batch, 2)
    lifted = torch.relu(model.norm(model.linear(features)))
    expected = torch.zeros(2, 4, 8, 6, dtype=torch.float64)
    for point, rig, own in zip(batch.points, batch.rig, lifted, strict=True):
        row, column = int(np.floor(float(point[1]) + 2.0)), int(np.floor(float(point[0]) + 4.0))
        expected[rig, row, column] = torch.maximum(expected[rig, row, column], own)
    torch.testing.assert_close(raster.permute(0, 2, 3, 1), expected)
    assert len(pillar.unique()) < 20 and (raster.sum(1) == 0).any()


def test_the_gradient_is_that_of_the_maximum():
    model, batch = encoder(channels=3), cloud(1, 12)
    weight = model.linear.weight.detach().clone().requires_grad_()

    def loss(value: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model, {"linear.weight": value}, (batch, 1))

    assert torch.autograd.gradcheck(loss, (weight,), eps=1e-7, atol=1e-5)


def test_rigs_do_not_mix_and_points_outside_count_for_nothing():
    model, batch = encoder(), cloud(2, 40, rigs=3)
    together = model(batch, 3)
    for rig in range(3):
        own = batch.rig == rig
        alone = model(PointBatch(batch.points[own], batch.rig[own] * 0), 1)
        torch.testing.assert_close(together[rig], alone[0])
    outside = batch.points[:5] + torch.tensor([8.0, 0, 0, 0, 0])
    more = PointBatch(torch.cat([batch.points, outside]), torch.cat([batch.rig, batch.rig[:5]]))
    torch.testing.assert_close(model(more, 3), together)


def test_the_order_of_points_does_not_matter():
    model, batch = encoder(), cloud(3, 40)
    order = torch.randperm(40)
    torch.testing.assert_close(model(PointBatch(batch.points[order], batch.rig[order]), 1), model(batch, 1))


def test_a_rig_without_points_is_an_empty_raster():
    batch = PointBatch(torch.zeros(0, 5, dtype=torch.float64), torch.zeros(0, dtype=torch.int64))
    assert not encoder()(batch, 2).any()


@pytest.mark.parametrize("label", [0, len(CLASSES) - 1])
def test_virtual_points_and_their_classes_are_told_apart(label):
    model, batch = encoder(virtual=True), cloud(4, 1, columns=6)
    torch.nn.init.normal_(model.label.weight)
    seen = []
    for code in (0.0, 1.0 + label):
        points = batch.points.clone()
        points[:, 5] = code
        seen.append(model(PointBatch(points, batch.rig), 1))
    assert not torch.allclose(*seen)


def test_an_encoder_with_labels_begins_as_one_without_and_learns_them():
    plain, batch = encoder(), cloud(5, 30, columns=6)
    batch.points[::2, 5] = 3.0
    model = encoder(virtual=True)
    model.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(model(batch, 1), plain(PointBatch(batch.points[:, :5], batch.rig), 1))
    model(batch, 1).sum().backward()
    assert model.label.weight.grad[[0, 3]].any(dim=1).all() and not model.label.weight.grad[[1, 2]].any()


def test_mixed_precision_moves_no_point():
    """In bfloat16 the raster would differ by a hundredth, as if points had moved by decimetres."""
    pillars, batch = encoder().float(), cloud(3, 200)
    batch = PointBatch(batch.points.float(), batch.rig)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = pillars(batch, 1)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, pillars(batch, 1))
