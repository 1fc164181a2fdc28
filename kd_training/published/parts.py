"""Pairs of the parts that networks share: batch norms, convolutions before them, sparse convolutions."""

from collections.abc import Callable, Container
from enum import Enum

import torch
from torch import Tensor

from kd_perception.errors import DataError
from kd_training.published.coverage import Pair

EPS = 1e-5  # of our batch norms
WIDE_EPS = 1e-3  # of published encoders and backbones
KERNEL = 3


def norm_pairs(source: str, target: str, eps: float, biases: tuple[str, ...] = ()) -> list[Pair]:
    """A batch norm of another epsilon: its variance is shifted, so that evaluation is the same.

    `biases` of the convolution before it (one or none) go into its mean.
    """
    mean = (f"{source}.running_mean", *biases)
    return [
        Pair(f"{target}.weight", (f"{source}.weight",)),
        Pair(f"{target}.bias", (f"{source}.bias",)),
        Pair(f"{target}.running_mean", mean, _without_bias),
        Pair(f"{target}.running_var", (f"{source}.running_var",), lambda value: value + (eps - EPS)),
    ]


def _without_bias(mean: Tensor, *bias: Tensor) -> Tensor:
    """Raises ValueError instead of spreading one number over all channels."""
    if any(value.shape != mean.shape for value in bias):
        raise ValueError("a bias of other channels than its norm")
    return mean - sum(bias)


def present(names: Container[str], name: str) -> tuple[str, ...]:
    """The name, where the checkpoint has it."""
    return (name,) if name in names else ()


def turned(turns: int) -> Callable[[Tensor], Tensor]:
    """A kernel (..., rows, columns) for maps that were turned by so many quarter turns."""
    return lambda kernel: torch.rot90(kernel, turns, (-2, -1))


def conv_norm_pairs(sources: tuple[str, str], target: str, eps: float, names: Container[str], turns: int) -> list[Pair]:
    """A convolution and the batch norm behind it, `sources`, as our ConvNormRelu or Sequential `target`."""
    convolution, norm = sources
    return [
        Pair(f"{target}.0.weight", (f"{convolution}.weight",), turned(turns)),
        *norm_pairs(norm, f"{target}.1", eps, present(names, f"{convolution}.bias")),
    ]


class SparseLayout(Enum):
    """How a sparse convolution's five axes lie in a file: kernel (z, y, x), then or before, channels."""

    spconv1 = "z, y, x, incoming, outgoing"
    spconv2_native = "z, y, x, outgoing, incoming"
    spconv2 = "outgoing, z, y, x, incoming"

    def ours(self, weight: Tensor) -> Tensor:
        """The weight as (outgoing, elements, incoming)."""
        order = {
            SparseLayout.spconv1: (4, 0, 1, 2, 3),
            SparseLayout.spconv2_native: (3, 0, 1, 2, 4),
            SparseLayout.spconv2: (0, 1, 2, 3, 4),
        }[self]
        return weight.permute(order).flatten(1, 3)


def sparse_layout(first: Tensor, inputs: int, where: str) -> SparseLayout:
    """The layout of a file, told by its first convolution, which has `inputs` incoming channels.

    Later ones cannot tell: they have as many channels on both sides. Raises DataError, naming `where`.
    """
    shape = tuple(first.shape)
    if len(shape) == 5:
        if shape[:3] == (KERNEL,) * 3 and shape[3] == inputs != shape[4]:
            return SparseLayout.spconv1
        if shape[:3] == (KERNEL,) * 3 and shape[4] == inputs:
            return SparseLayout.spconv2_native
        if shape[1:4] == (KERNEL,) * 3 and shape[4] == inputs:
            return SparseLayout.spconv2
    known = "; ".join(f"({layout.value})" for layout in SparseLayout)
    raise DataError(
        f"{where} has the shape {shape}, which is no sparse convolution of {inputs} inputs in a known layout: {known}"
    )


def sparse_pairs(
    sources: tuple[str, str], target: str, layout: SparseLayout, names: Container[str], scales: Tensor | None = None
) -> list[Pair]:
    """A sparse convolution and its batch norm, as our SparseConvNorm `target`.

    `scales` (incoming,): what the published inputs are, in ours.
    """
    convolution, norm = sources

    def ours(weight: Tensor) -> Tensor:
        return layout.ours(weight) if scales is None else layout.ours(weight) * scales

    return [
        Pair(f"{target}.conv.weight", (f"{convolution}.weight",), ours),
        *norm_pairs(norm, f"{target}.norm", WIDE_EPS, present(names, f"{convolution}.bias")),
    ]
