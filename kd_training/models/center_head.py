"""CenterHead: class heatmaps and box codes per group of similar classes (CenterPoint, arXiv:2006.11275)."""

import torch
from torch import Tensor, nn

from kd_perception.geometry.classes import ClassList
from kd_perception.student.box_codes import BoxCoding
from kd_training.models.joint_blocks import side_by_side
from kd_training.models.necks import ConvNormRelu

PRE_HEAD, SHARED = "pre_head", "shared"  # the features before the head, and those that its task heads read
HEATMAP_BIAS = -2.19  # sigmoid gives .1: the first heatmap loss is not drowned in negatives


class CenterHead(nn.Module):
    """One shared block, then per group of classes one hidden block for their heatmaps and one for their box codes.

    In training the shared block's features are named SHARED. The hidden block for box codes has `codes` channels, or
    `hidden` as the heatmap's.
    """

    def __init__(
        self, incoming: int, shared: int, hidden: int, classes: ClassList, coding: BoxCoding, *, codes: int = 0
    ) -> None:
        super().__init__()
        self.coding = coding
        self.shared = ConvNormRelu(incoming, shared)
        self.heatmap = nn.ModuleList(_branch(shared, hidden, len(group.classes)) for group in classes.groups)
        self.regression = nn.ModuleList(_branch(shared, codes or hidden, len(coding.names)) for _ in classes.groups)
        for branch in self.heatmap:
            nn.init.constant_(branch[-1].bias, HEATMAP_BIAS)

    def forward(self, bev: Tensor) -> tuple[Tensor, Tensor]:
        """BEV features (B, incoming, rows, columns) -> heatmap logits (B, classes, rows, columns), regression.

        The regression holds box codes (B, groups, codes, rows, columns).
        """
        return self.predict({PRE_HEAD: bev})

    @property
    def shared_channels(self) -> int:
        """Channels of the shared block's features."""
        return self.shared[0].out_channels

    @property
    def code_rows(self) -> list[str]:
        """Names of the parameters that have a row for each box code."""
        return [f"regression.{group}.1.{name}" for group in range(len(self.regression)) for name in ("weight", "bias")]

    def predict(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """As `forward`, from the features PRE_HEAD; adds SHARED to `features`."""
        shared = features[SHARED] = self.shared(features[PRE_HEAD])
        branches = [*self.heatmap, *self.regression]
        hidden = side_by_side([branch[0] for branch in branches], shared)
        outputs = [branch[1](part) for branch, part in zip(branches, hidden, strict=True)]
        groups = len(self.heatmap)
        return torch.cat(outputs[:groups], dim=1), torch.stack(outputs[groups:], dim=1)


def _branch(shared: int, hidden: int, outputs: int) -> nn.Sequential:
    last = nn.Conv2d(hidden, outputs, 3, padding=1)
    return nn.Sequential(ConvNormRelu(shared, hidden), last)
