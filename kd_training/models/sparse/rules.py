"""Rule books of sparse convolutions (SECOND, Sensors 18(10), 2018): which input meets which output at which element of
the kernel. Both kinds are cross-correlations, as torch's: element k of the kernel reads the input at
output * stride - padding + k.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from kd_training.models.sparse.maps import SparseMap, linear_index, places_of

Triple = tuple[int, int, int]


class RuleBook(NamedTuple):
    """Rows of inputs and outputs (R,) that meet, element after element of the kernel, `sizes` of each along z, y, x.

    places: (V', 4) of the outputs, on a raster of size `shape`.
    """

    inputs: Tensor
    outputs: Tensor
    sizes: list[int]
    places: Tensor
    shape: Triple


def submanifold_rules(given: SparseMap, kernel: int) -> RuleBook:
    """Outputs stand where inputs stand. The rule of the kernel's middle, which joins each with itself, is left out."""
    reach = kernel // 2
    size = tuple(length + 2 * reach for length in given.shape)  # a margin: no neighbour lies beyond a border
    index = linear_index(given.places + given.places.new_tensor([0, reach, reach, reach]), size)
    rows = torch.arange(len(index), device=index.device)
    before, behind, middle = [], [], kernel**3 // 2
    for element in range(middle):
        z, rest = divmod(element, kernel**2)
        y, x = divmod(rest, kernel)
        wanted = index + ((z - reach) * size[1] + y - reach) * size[2] + x - reach
        found = torch.searchsorted(index, wanted).clamp(max=max(len(index) - 1, 0))
        here = index[found] == wanted
        before.append((found[here], rows[here]))
        behind.insert(0, (rows[here], found[here]))  # who has a neighbour on one side is its neighbour's on the other
    none = rows[:0]
    met = [*before, (none, none), *behind]
    inputs, outputs = (torch.cat([pair[side] for pair in met]) for side in (0, 1))
    return RuleBook(inputs, outputs, [len(pair[0]) for pair in met], given.places, given.shape)


def strided_rules(given: SparseMap, kernel: Triple, stride: Triple, padding: Triple) -> RuleBook:
    """Outputs stand wherever the kernel meets an input."""
    shape = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in zip(given.shape, kernel, stride, padding, strict=True))
    steps, limit = given.places.new_tensor(stride), given.places.new_tensor(shape)
    met = []
    for element in range(kernel[0] * kernel[1] * kernel[2]):
        z, rest = divmod(element, kernel[1] * kernel[2])
        offset = given.places.new_tensor([z, *divmod(rest, kernel[2])])
        start = given.places[:, 1:] + given.places.new_tensor(padding) - offset
        target = torch.div(start, steps, rounding_mode="floor")
        fits = ((start >= 0) & (start % steps == 0) & (target < limit)).all(dim=1)
        inputs = fits.nonzero().squeeze(1)
        met.append((linear_index(torch.cat([given.places[fits, :1], target[fits]], dim=1), shape), inputs))
    index, rows = torch.unique(torch.cat([outputs for outputs, _ in met]), return_inverse=True)
    inputs = torch.cat([inputs for _, inputs in met])
    return RuleBook(inputs, rows, [len(inputs) for _, inputs in met], places_of(index, shape), shape)
