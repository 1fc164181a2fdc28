"""Imitation of channels in groups, each of which is standardised: how much a group counts is its weight's alone."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kd_training.config.distill import LayerPair
from kd_training.config.feature_terms import ChannelGroupsConfig
from kd_training.distill.terms.pearson import standardised
from kd_training.distill.terms.term import ComparedBatch, TermValue

OVER = (2,)  # channels and cells of a group


@dataclass(frozen=True)
class ChannelGroupTerm:
    """L = weight  mean_rigs sum_groups w_g  mean_channels,cells (Z(F_T) - Z(G(F_S)))^2.

    Z standardises a group of a rig over its channels and cells; w_g is the group's share of the teacher's mean |F|.
    Without `normalised` Z is the identity and all w_g are alike: the loss is the mean squared error, whatever the
    number of groups.
    """

    pair: LayerPair
    config: ChannelGroupsConfig

    @property
    def name(self) -> str:
        """Channel groups and the student's layer."""
        return f"channel_groups/{self.pair.student}"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        layer = batch.layers[self.pair.student]
        student, teacher = (self._groups(features) for features in (layer.student, layer.teacher))
        share = torch.full_like(teacher[:, :, 0], 1.0 / self.config.groups)
        if self.config.normalised:
            share = energy_shares(teacher)
            student, teacher = standardised(student, OVER), standardised(teacher, OVER)
        loss = (share * (teacher - student).square().mean(dim=2)).sum(dim=1).mean()
        return TermValue(self.config.weight * loss)

    def _groups(self, features: Tensor) -> Tensor:
        """(B, C, rows, columns) -> (B, groups, C / groups x rows x columns): neighbouring channels are a group."""
        return features.reshape(len(features), self.config.groups, -1)


def energy_shares(groups: Tensor) -> Tensor:
    """Each group's share (B, groups) of the sum of mean |F|, without gradient; groups: (B, groups, values)."""
    strength = groups.detach().abs().mean(dim=2)
    return strength / strength.sum(dim=1, keepdim=True).clamp(min=torch.finfo(strength.dtype).tiny)
