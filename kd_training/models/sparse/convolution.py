"""Sparse convolutions as modules, and their block with batch norm and ReLU.

Weights lie in memory as spconv 2's, (outgoing, z, y, x, incoming), with the kernel's three axes as one: torch puts
tensors of five axes into layouts of its own, such as channels_last. `dense_weight` is what torch's conv3d takes.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.models.sparse import spconv_engine
from kd_training.models.sparse.maps import SparseMap
from kd_training.models.sparse.rules import RuleBook, Triple, strided_rules, submanifold_rules


class SparseConv(nn.Module):
    """What both kinds have: the kernel's size along z, y and x, and weights (outgoing, elements, incoming)."""

    def __init__(self, incoming: int, outgoing: int, kernel: Triple) -> None:
        super().__init__()
        self.kernel, elements = kernel, math.prod(kernel)
        self.weight = nn.Parameter(torch.empty(outgoing, elements, incoming))
        bound = 1.0 / math.sqrt(incoming * elements)  # as torch's convolutions begin
        nn.init.uniform_(self.weight, -bound, bound)

    def dense_weight(self) -> Tensor:
        """The weights as (outgoing, incoming, z, y, x)."""
        return self.weight.unflatten(1, self.kernel).permute(0, 4, 1, 2, 3)


class SubmanifoldConv(SparseConv):
    """A convolution whose outputs stand where its inputs stand (arXiv:1706.01307), without bias."""

    def __init__(self, incoming: int, outgoing: int, kernel: int = 3) -> None:
        super().__init__(incoming, outgoing, (kernel, kernel, kernel))

    def forward(self, given: SparseMap) -> SparseMap:
        """Features (V, incoming) -> (V, outgoing) at the same places."""
        if spconv_engine.serves(given):
            return spconv_engine.submanifold(given, self.weight.unflatten(1, self.kernel))
        key = f"submanifold {self.kernel[0]}"
        if key not in given.rules:
            given.rules[key] = submanifold_rules(given, self.kernel[0])
        itself = functional.linear(given.features, self.weight[:, self.weight.shape[1] // 2])
        return given.with_features(_by_rules(given.features, self.weight, given.rules[key], itself))


class StridedConv(SparseConv):
    """A convolution with outputs wherever its kernel meets an input, without bias."""

    def __init__(self, incoming: int, outgoing: int, kernel: Triple, stride: Triple, padding: Triple) -> None:
        super().__init__(incoming, outgoing, kernel)
        self.stride, self.padding = stride, padding

    def forward(self, given: SparseMap) -> SparseMap:
        """Features (V, incoming) -> (V', outgoing) on the raster that torch's convolution has, too."""
        if spconv_engine.serves(given):
            return spconv_engine.strided(given, self.weight.unflatten(1, self.kernel), self.stride, self.padding)
        book = strided_rules(given, self.kernel, self.stride, self.padding)
        nothing = given.features.new_zeros(len(book.places), self.weight.shape[0])
        features = _by_rules(given.features, self.weight, book, nothing)
        return SparseMap(features, book.places, book.shape, given.rigs)


class SparseConvNorm(nn.Module):
    """A sparse convolution and batch norm over the occupied places."""

    def __init__(self, convolution: SubmanifoldConv | StridedConv) -> None:
        super().__init__()
        self.conv = convolution
        self.norm = nn.BatchNorm1d(convolution.weight.shape[0])

    def forward(self, given: SparseMap, added: Tensor | None = None) -> SparseMap:
        """Features (V, incoming) -> (V', outgoing); `added` (V', outgoing) joins the convolution's result."""
        found = self.conv(given)
        features = found.features if added is None else found.features + added
        return found.with_features(self._normalised(features))

    def _normalised(self, features: Tensor) -> Tensor:
        if self.training and len(features) < 2:  # of so few there are no statistics
            norm = self.norm
            return functional.batch_norm(
                features, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        return self.norm(features)


class SparseResidual(nn.Module):
    """Two submanifold convolutions around a shortcut (arXiv:1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = SparseConvNorm(SubmanifoldConv(channels, channels))
        self.second = SparseConvNorm(SubmanifoldConv(channels, channels))

    def forward(self, given: SparseMap) -> SparseMap:
        """Features (V, channels) -> (V, channels) at the same places."""
        found = self.second(rectified(self.first(given)))
        return found.with_features(torch.relu(found.features + given.features))


def rectified(given: SparseMap) -> SparseMap:
    """The map with ReLU of its features."""
    return given.with_features(torch.relu(given.features))


def _by_rules(features: Tensor, weight: Tensor, book: RuleBook, begun: Tensor) -> Tensor:
    """`begun` (V', outgoing) plus what every rule adds; sums in float32 at least.

    All inputs are gathered at once: the gradient of one gather is one scatter, instead of one for each element.
    """
    if torch.is_autocast_enabled(features.device.type):  # once, instead of element by element
        features = features.to(torch.get_autocast_dtype(features.device.type))
    gathered = features.index_select(0, book.inputs).split(book.sizes)
    met = torch.cat([functional.linear(part, weight[:, element]) for element, part in enumerate(gathered)])
    total = begun.to(torch.promote_types(begun.dtype, torch.float32))
    return total.index_add(0, book.outputs, met.to(total.dtype))
