"""Which levels of two image pyramids show the same: those with about as many cells a picture (aligned levels,
arXiv:2109.06875).

Pixels have centres at .5, so a place u of the student's image is s u in the teacher's, which is s times as large.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

FARTHEST = 0.5  # octaves between matched levels: each has one nearest


class LevelMatch(NamedTuple):
    """Strides, in pixels of either's own image, of a student's level and of the teacher's that it imitates.

    `step`: cells of the student from one cell of the teacher to the next; 1 at ratios that are powers of two.
    """

    student: int
    teacher: int
    step: float


def matched_levels(ratio: float, student: Sequence[int], teacher: Sequence[int]) -> list[LevelMatch]:
    """The student's levels, by stride, that have a near one of the teacher, whose image is `ratio` times as large."""
    found = []
    for stride in student:
        apart = {other: abs(math.log2(other / (stride * ratio))) for other in teacher}
        nearest = min(apart, key=lambda other: apart[other], default=0)
        if nearest and apart[nearest] <= FARTHEST:
            found.append(LevelMatch(stride, nearest, nearest / (stride * ratio)))
    return found


def sampled(features: Tensor, shape: tuple[int, int], step: float) -> Tensor:
    """Bilinear samples (N, C, *shape) of features (N, C, rows, columns), `step` cells apart: cell i is at
    (i + .5) step - .5. Outside the nearest edge counts."""
    if tuple(features.shape[2:]) == tuple(shape) and step == 1.0:
        return features
    rows, columns = (
        ((torch.arange(count, device=features.device) + 0.5) * step / size * 2.0 - 1.0)
        for count, size in zip(shape, features.shape[2:], strict=True)
    )
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    places = places.expand(len(features), -1, -1, -1)
    return functional.grid_sample(features.float(), places, padding_mode="border", align_corners=False)
