"""Channels in thirds (LabelDistill, arXiv:2407.10164): one third of a layer's channels imitates features of the true
boxes, one the LiDAR's, one is free.

Label features are known to a camera by construction, and need no points. LiDAR features hold more, some of it beyond a
camera. In channels of their own neither hinders the other.
"""

from enum import Enum

from torch import Tensor, nn
from torch.nn import functional

from kd_training.config.distill import LayerPair
from kd_training.distill.adapters import resized
from kd_training.distill.terms.term import ComparedBatch, TermValue
from kd_training.models.bev_encoder import ResidualBlock
from kd_training.models.necks import ConvNormRelu

THIRDS = 3


class ThirdOf(Enum):
    """Which third it is, counted from 0, and whose features it imitates."""

    labels = 0
    lidar = 1


class ThirdTerm(nn.Module):
    """L = weight  sum_cells M |F - G(F_S)|^2 / sum_cells M, with F_S a third of the student's channels.

    M is the true heatmap, the sum over classes; of label features every cell above 0 counts alike.
    """

    def __init__(self, third: ThirdOf, pair: LayerPair, weight: float, *, incoming: int, outgoing: int) -> None:
        """`incoming`: channels of the student's whole layer; `outgoing`: of the imitated one."""
        super().__init__()
        self.third, self.pair, self.weight = third, pair, weight
        self.name, width = f"{third.name}/{pair.student}", incoming // THIRDS
        self.channels = slice(third.value * width, (third.value + 1) * width)
        self.adapter = nn.Sequential(ConvNormRelu(width, outgoing), ResidualBlock(outgoing, outgoing))

    def forward(self, batch: ComparedBatch) -> TermValue:
        """The scalar loss alone. The adapter works at the student's resolution, which is resampled to the target's."""
        sources = batch.labels if self.third is ThirdOf.labels else batch.teacher.features
        target = sources[self.pair.teacher].float()
        adapted = self.adapter(batch.student.features[self.pair.student][:, self.channels])
        imitated = resized(adapted.float(), tuple(target.shape[2:]))
        mask = object_mask(batch.truth.heatmap, tuple(target.shape[2:]))
        mask = (mask > 0.0).float() if self.third is ThirdOf.labels else mask
        total = (mask * (target - imitated).square().sum(dim=1)).sum()
        return TermValue(self.weight * total / batch.processes.mean(mask.sum()).clamp(min=1.0))


def object_mask(heatmap: Tensor, shape: tuple[int, int]) -> Tensor:
    """The sum over classes of a true heatmap (B, classes, rows, columns), as (B, *shape): the largest where several
    cells become one."""
    together = heatmap.sum(dim=1)
    return together if together.shape[1:] == shape else functional.adaptive_max_pool2d(together, shape)
