"""Fake quantisation: a network computes in FP32 with the values that int8 can hold, to be judged and trained.

The gradient passes through the rounding (straight-through estimator, arXiv:1308.3432), and not where a value saturates.
The rounding is PyTorch's own operator, which rounds as QuantizeLinear does. Libraries were no help: nncf refuses signed
activations, brevitas and torchao quantise modules and not a file's graph, and place their own Q/DQ.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from kd_training.quantise.qdq import LEVELS, Quantised
from kd_training.quantise.ranges import unchanged
from kd_training.quantise.torch_graph import GraphNetwork

TINY = 1e-30


@contextmanager
def rounded(network: GraphNetwork, quantised: Quantised) -> Iterator[None]:
    """Within it the network computes as the file with these Q/DQ does; graph outputs stay as they are."""

    def on_tensor(name: str, value: Tensor) -> Tensor:
        scale = quantised.scales.get(name)
        return value if scale is None else round_tensor(value, scale)

    def on_weight(layer: str, weight: Tensor) -> Tensor:
        return round_weight(weight) if layer in quantised.layers else weight

    network.on_tensor, network.on_weight = on_tensor, on_weight
    try:
        yield
    finally:
        network.on_tensor, network.on_weight = unchanged, unchanged


def round_tensor(value: Tensor, scale: float) -> Tensor:
    """The nearest of scale x {-128 .. 127}."""
    return torch.fake_quantize_per_tensor_affine(value, scale, 0, -LEVELS - 1, LEVELS)


def round_weight(weight: Tensor) -> Tensor:
    """A weight (outgoing, incoming, rows, columns) with one scale per output channel, that of its greatest value."""
    scale = (weight.detach().abs().amax(dim=(1, 2, 3)) / LEVELS).clamp_min(TINY)
    zero = torch.zeros(len(scale), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -LEVELS, LEVELS)
