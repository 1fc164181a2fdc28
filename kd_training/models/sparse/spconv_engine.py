"""Sparse convolutions by spconv 2 (extra `spconv`), on a GPU alone: its CPU kernels race and are for debugging.

Its weights have our layout, so a layer of spconv computes with our parameter.
"""

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor, nn

from kd_training.models.sparse.maps import SparseMap, linear_index

_INDEX = "spconv"  # where a map's rules keep spconv's


def serves(given: SparseMap) -> bool:
    """Whether spconv computes convolutions of this map."""
    return given.features.is_cuda and len(given.features) > 0 and _installed()


def submanifold(given: SparseMap, weight: Tensor) -> SparseMap:
    """As SubmanifoldConv, in float32; weight (outgoing, z, y, x, incoming)."""
    outgoing, kernel, *_, incoming = weight.shape
    with torch.device("meta"):  # its own weights are never made
        layer = _spconv().SubMConv3d(incoming, outgoing, kernel, bias=False, indice_key=f"submanifold {kernel}")
    return given.with_features(_run(layer, weight, given).features)


def strided(given: SparseMap, weight: Tensor, stride: tuple[int, ...], padding: tuple[int, ...]) -> SparseMap:
    """As StridedConv, in float32."""
    outgoing, *kernel, incoming = weight.shape
    with torch.device("meta"):
        layer = _spconv().SparseConv3d(incoming, outgoing, kernel, stride, padding, bias=False)
    found = _run(layer, weight, given)
    places, shape = found.indices.long(), tuple(found.spatial_shape)
    order = linear_index(places, shape).argsort()
    return SparseMap(found.features[order], places[order], shape, given.rigs)


def _run(layer: nn.Module, weight: Tensor, given: SparseMap) -> object:
    """The layer's result (a SparseConvTensor) with our weight; what it works out for places stays with the map."""
    del layer.weight  # it is a parameter: ours is a view of one
    layer.weight = weight
    with torch.autocast("cuda", enabled=False):
        features = given.features.float().contiguous()
        tensor = _spconv().SparseConvTensor(features, given.places.int(), list(given.shape), given.rigs)
        tensor.indice_dict = given.rules.setdefault(_INDEX, tensor.indice_dict)
        return layer(tensor)


@cache
def _installed() -> bool:
    return find_spec("spconv") is not None


def _spconv() -> ModuleType:
    return import_module("spconv.pytorch")
