"""Sparse convolutions are dense ones on the same raster: values, gradients, places, at borders and without points."""

import pytest
import torch
from torch.nn import functional

from kd_training.models.sparse.convolution import SparseConvNorm, SparseResidual, StridedConv, SubmanifoldConv
from kd_training.models.sparse.maps import SparseMap, linear_index, places_of

SHAPE, RIGS = (5, 6, 7), 2
STRIDED = [
    ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    ((3, 3, 3), (2, 2, 2), (0, 1, 1)),
    ((3, 1, 1), (2, 1, 1), (0, 0, 0)),
    ((2, 3, 1), (1, 2, 3), (1, 0, 0)),
]


def sparse_map(channels: int = 4, share: float = 0.3, seed: int = 0) -> SparseMap:
    """A random map whose corners are occupied."""
    generator = torch.Generator().manual_seed(seed)
    occupied = torch.rand(RIGS, *SHAPE, generator=generator) < share
    if share:
        occupied[:, 0, 0, 0] = occupied[:, -1, -1, -1] = True
    places = occupied.nonzero()
    features = torch.randn(len(places), channels, dtype=torch.float64, generator=generator)
    return SparseMap(features.requires_grad_(), places, SHAPE, RIGS)


def dense_result(given: SparseMap, weight: torch.Tensor, stride, padding) -> torch.Tensor:
    return functional.conv3d(given.dense(), weight, stride=stride, padding=padding)


def at(raster: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    rig, z, y, x = places.unbind(1)
    return raster[rig, :, z, y, x]


def gradients(values: torch.Tensor, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    weights = torch.randn(values.shape, dtype=values.dtype, generator=torch.Generator().manual_seed(9))
    return torch.autograd.grad((values * weights).sum(), inputs)


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_a_submanifold_convolution_is_the_dense_one_at_its_places(kernel):
    given, layer = sparse_map(), SubmanifoldConv(4, 3, kernel).double()
    found = layer(given)
    expected = at(dense_result(given, layer.dense_weight(), 1, kernel // 2), given.places)
    torch.testing.assert_close(found.features, expected)
    assert found.places is given.places
    wanted = gradients(expected, given.features, layer.weight)
    for ours, theirs in zip(gradients(found.features, given.features, layer.weight), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("kernel", "stride", "padding"), STRIDED)
def test_a_strided_convolution_is_the_dense_one_and_stands_where_its_kernel_meets_points(kernel, stride, padding):
    given, layer = sparse_map(share=0.1), StridedConv(4, 3, kernel, stride, padding).double()
    found = layer(given)
    expected = dense_result(given, layer.dense_weight(), stride, padding)
    torch.testing.assert_close(found.dense(), expected)
    with torch.no_grad():
        ones = torch.ones_like(layer.dense_weight()[:1])
        met = dense_result(given.with_features(torch.ones_like(given.features)), ones, stride, padding)[:, 0] > 0
    assert torch.equal(found.places, met.nonzero())
    wanted = gradients(expected, given.features, layer.weight)
    for ours, theirs in zip(gradients(found.dense(), given.features, layer.weight), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_rules_are_worked_out_once_for_the_same_places():
    given, first, second = sparse_map(), SubmanifoldConv(4, 4).double(), SubmanifoldConv(4, 4).double()
    found = first(given)
    book = given.rules["submanifold 3"]
    assert second(found).rules["submanifold 3"] is book


def test_weights_lie_as_spconvs_and_survive_channels_last():
    layer = StridedConv(4, 3, (2, 3, 1), (1, 2, 3), (1, 0, 0))
    of_spconv = layer.weight.detach().reshape(3, 2, 3, 1, 4)  # outgoing, z, y, x, incoming
    assert torch.equal(layer.dense_weight(), of_spconv.permute(0, 4, 1, 2, 3))
    assert layer.to(memory_format=torch.channels_last).weight.is_contiguous()


def test_rigs_do_not_mix():
    given, layer = sparse_map(), SubmanifoldConv(4, 3).double()
    own = given.places[:, 0] == 1
    alone = SparseMap(given.features[own], given.places[own] * torch.tensor([0, 1, 1, 1]), SHAPE, 1)
    torch.testing.assert_close(layer(given).features[own], layer(alone).features)


def test_nothing_gives_nothing_and_a_gradient():
    given = sparse_map(share=0.0)
    block = torch.nn.ModuleList([SparseResidual(4), SparseConvNorm(StridedConv(4, 3, *STRIDED[0]))]).double()
    found = block[1](block[0](given))
    assert found.features.shape == (0, 3) and found.shape == (3, 3, 4)
    assert found.dense().shape == (RIGS, 3, 3, 3, 4) and not found.dense().any()
    found.dense().sum().backward()
    assert all(torch.isfinite(value).all() for value in block.state_dict().values())


def test_one_voxel_trains():
    """Batch norm has no statistics of one row: the running ones serve."""
    given = SparseMap(torch.ones(1, 4), torch.zeros(1, 4, dtype=torch.int64), SHAPE, RIGS)
    assert torch.isfinite(SparseResidual(4)(given).features).all()


def test_sums_are_float32_under_autocast():
    given = sparse_map()
    layer = SubmanifoldConv(4, 3)
    exact = layer(given.with_features(given.features.float()))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(given.with_features(given.features.float()))
    assert rounded.features.dtype == torch.float32
    torch.testing.assert_close(rounded.features, exact.features, atol=0.05, rtol=0.05)


def test_numbers_of_places_go_both_ways():
    places = sparse_map().places
    index = linear_index(places, SHAPE)
    assert (index.diff() > 0).all() and torch.equal(places_of(index, SHAPE), places)


@pytest.mark.gpu
@pytest.mark.parametrize("which", ["submanifold", "strided"])
def test_spconv_gives_the_same(which):
    pytest.importorskip("spconv", reason="spconv is not installed: pip install .[spconv]")
    if not torch.cuda.is_available():
        pytest.skip("spconv computes on a GPU alone, and there is none")
    layer = (SubmanifoldConv(4, 3) if which == "submanifold" else StridedConv(4, 3, *STRIDED[1])).cuda()
    given = sparse_map()
    host = SparseMap(given.features.detach().float().requires_grad_(), given.places, SHAPE, RIGS)
    device = SparseMap(host.features.detach().cuda().requires_grad_(), given.places.cuda(), SHAPE, RIGS)
    served, found = layer(device), layer.cpu()(host)
    assert torch.equal(served.places.cpu(), found.places)
    torch.testing.assert_close(served.features.cpu(), found.features, atol=1e-3, rtol=1e-3)
