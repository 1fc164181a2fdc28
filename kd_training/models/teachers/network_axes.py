"""A network that was trained in other axes than the ego's: points are turned for it, and its maps turned back.

Strided convolutions are not the same when the scene turns, so the weights cannot be turned instead. What follows the
backbone can: `published.head_table` does that once, at import.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_training.batches.point_batch import PointBatch
from kd_training.config.teacher import TeacherModelConfig


def to_network(batch: PointBatch, config: TeacherModelConfig) -> PointBatch:
    """Points in the axes of the network: turned about z, and lower by `network_height` metres."""
    turns = config.network_turns % 4
    if not turns and not config.network_height:
        return batch
    x, y, z = batch.points[:, :3].unbind(1)
    x, y = [(x, y), (-y, x), (-x, -y), (y, -x)][turns]
    moved = torch.stack([x, y, z - config.network_height], dim=1)
    return PointBatch(torch.cat([moved, batch.points[:, 3:]], dim=1), batch.rig)


def from_network(levels: Sequence[Tensor], config: TeacherModelConfig) -> list[Tensor]:
    """Maps (B, C, rows, columns) of the network, on the ego's grid."""
    turns = config.network_turns % 4
    return [torch.rot90(level, turns, (2, 3)) if turns else level for level in levels]
