"""CenterPoint's head as ours: published branches beside each other in one hidden block, boxes coded as `Heading.vector`
in base_link.

A published head has a branch of its own for offset, height, size, heading and velocity. Here one hidden block holds
the five behind each other, and the last layer is theirs on its diagonal: the same numbers.
"""

from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from kd_training.published.coverage import Pair
from kd_training.published.parts import EPS, conv_norm_pairs, norm_pairs, present, turned

CODES = 10  # offset 2, height 1, size 3, heading 2, velocity 2, as published heads and ours have them in a row


class BoxConvention(StrEnum):
    """Whose conventions a head's boxes have. All count from the LiDAR, x to the right and y ahead.

    mmdet3d-0: sizes (w, l, h), yaw clockwise from -y (before mmdetection3d 1.0). mmdet3d-1: (l, w, h), yaw
    counter-clockwise from x, as sine and cosine. openpcdet: as mmdet3d-1, cosine before sine.
    """

    mmdet3d_0 = "mmdet3d-0"
    mmdet3d_1 = "mmdet3d-1"
    openpcdet = "openpcdet"

    def to_vector(self) -> Tensor:
        """Matrix (10, 10): rows of a published head to Heading.vector in the network's axes."""
        matrix = torch.eye(CODES)
        if self is BoxConvention.mmdet3d_0:
            matrix[3:5, 3:5] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
            matrix[6:8, 6:8] = torch.tensor([[0.0, -1.0], [-1.0, 0.0]])  # its angle is -yaw - pi / 2
        elif self is BoxConvention.openpcdet:
            matrix[6:8, 6:8] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        return matrix


@dataclass(frozen=True)
class Axes:
    """Where a network's axes lie in base_link: quarter turns that bring base_link's points to it, and its height."""

    turns: int
    height: float  # metres

    def to_base(self) -> Tensor:
        """Matrix (10, 10): codes of Heading.vector in the network's axes to base_link's."""
        angle = torch.tensor(self.turns * torch.pi / 2.0, dtype=torch.float64)
        cosine, sine = float(torch.cos(angle).round()), float(torch.sin(angle).round())
        matrix = torch.eye(CODES)
        back = torch.tensor([[cosine, sine], [-sine, cosine]])
        matrix[0:2, 0:2] = matrix[8:10, 8:10] = back
        matrix[6:8, 6:8] = torch.tensor([[cosine, -sine], [sine, cosine]])  # sine and cosine of yaw - turn
        return matrix


@dataclass(frozen=True)
class HeadNames:
    """A framework's names: the shared block, a group's branches, and what stands behind a branch's name.

    branches: offset, height, size, heading, velocity, heatmap.
    """

    shared: tuple[str, str]
    group: str  # with {} for its number
    branches: tuple[str, str, str, str, str, str]
    hidden: tuple[str, str]
    last: str


def head_pairs(names: Container[str], head: HeadNames, groups: int, boxes: BoxConvention, axes: Axes) -> list[Pair]:
    """The pairs of the whole head."""
    pairs = conv_norm_pairs(head.shared, "head.shared", EPS, names, axes.turns)
    for group in range(groups):
        *branches, heatmap = (f"{head.group.format(group)}.{branch}" for branch in head.branches)
        hidden = tuple(f"{heatmap}.{part}" for part in head.hidden)
        pairs += conv_norm_pairs(hidden, f"head.heatmap.{group}.0", EPS, names, axes.turns)
        pairs += [
            Pair(f"head.heatmap.{group}.1.weight", (f"{heatmap}.{head.last}.weight",), turned(axes.turns)),
            Pair(f"head.heatmap.{group}.1.bias", (f"{heatmap}.{head.last}.bias",)),
            *_regression(names, head, branches, f"head.regression.{group}", (boxes, axes)),
        ]
    return pairs


def _regression(
    names: Container[str], head: HeadNames, branches: list[str], target: str, of: tuple[BoxConvention, Axes]
) -> list[Pair]:
    """Five branches as one."""
    boxes, axes = of
    turn, matrix = turned(axes.turns), axes.to_base() @ boxes.to_vector()
    convolution, norm = head.hidden
    weights = tuple(f"{branch}.{convolution}.weight" for branch in branches)
    last = [tuple(f"{branch}.{head.last}.{kind}" for branch in branches) for kind in ("weight", "bias")]
    pairs = [Pair(f"{target}.0.0.weight", weights, lambda *parts: turn(torch.cat(parts)))]
    of_branch = [
        norm_pairs(f"{branch}.{norm}", f"{target}.0.1", EPS, present(names, f"{branch}.{convolution}.bias"))
        for branch in branches
    ]
    for parts in zip(*of_branch, strict=True):
        pairs.append(_side_by_side(parts))
    pairs.append(
        Pair(f"{target}.1.weight", last[0], lambda *parts: turn(torch.einsum("ij,jkyx->ikyx", matrix, diagonal(parts))))
    )
    pairs.append(Pair(f"{target}.1.bias", last[1], lambda *parts: _biases(torch.cat(parts), matrix, axes)))
    return pairs


def _side_by_side(parts: tuple[Pair, ...]) -> Pair:
    """The same part of several batch norms, behind each other."""
    sizes = [len(part.sources) for part in parts]

    def make(*values: Tensor) -> Tensor:
        taken, rest = [], list(values)
        for part, size in zip(parts, sizes, strict=True):
            taken.append(part.make(*rest[:size]))
            rest = rest[size:]
        return torch.cat(taken)

    return Pair(parts[0].target, tuple(source for part in parts for source in part.sources), make)


def diagonal(parts: tuple[Tensor, ...]) -> Tensor:
    """Last layers (codes_i, hidden_i, rows, columns) of several branches as one of all hidden channels."""
    rows, columns = sum(len(part) for part in parts), sum(part.shape[1] for part in parts)
    joined = parts[0].new_zeros(rows, columns, *parts[0].shape[2:])
    row = column = 0
    for part in parts:
        joined[row : row + len(part), column : column + part.shape[1]] = part
        row, column = row + len(part), column + part.shape[1]
    return joined


def _biases(published: Tensor, matrix: Tensor, axes: Axes) -> Tensor:
    """Offsets count from a cell's corner there, from its centre here; heights from the LiDAR and from base_link."""
    before = published.clone()
    before[0:2] -= 0.5
    after = matrix @ before
    after[2] += axes.height
    return after
