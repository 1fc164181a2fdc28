"""Attention in three dimensions: where in x, y and height features are strong, and imitation that counts more there.

Only a layer whose channels are stacked heights has a height: a voxel teacher's "volume". Any other BEV map is the case
of one height, in which nothing is left of the third dimension: attention and smoothing are those of a plane.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kd_training.config.distill import LayerPair
from kd_training.config.feature_terms import VolumeAttentionConfig
from kd_training.distill.terms.term import ComparedBatch, TermValue

SMOOTHING = (0.25, 0.5, 0.25)  # along each axis


@dataclass(frozen=True)
class VolumeAttentionTerm:
    """L = weight  ( mean_cells |A(F_T) - A(G(F_S))|  +  mean_cells A(F_T) mean_channels (F_T - G(F_S))^2 ).

    F are in means of |F_T|, so that the teacher's scale does not count. A = sigmoid(s - mean s_T), s the smoothed mean
    of the channels' mean and largest value. The smoothing is fixed and the teacher's side gets no gradient: with a
    learnt target, a constant one would be the minimum. `heights`: how many the teacher's layer has.
    """

    pair: LayerPair
    config: VolumeAttentionConfig
    heights: int = 1

    @property
    def name(self) -> str:
        """Volume attention and the student's layer."""
        return f"volume_attention/{self.pair.student}"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        layer = batch.layers[self.pair.student]
        teacher = as_volume(layer.teacher.detach(), self.heights)
        scale = teacher.abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp(min=torch.finfo(teacher.dtype).tiny)
        student, teacher = as_volume(layer.student, self.heights) / scale, teacher / scale
        of_student, of_teacher = strength(student), strength(teacher)
        middle = of_teacher.mean(dim=(1, 2, 3, 4), keepdim=True)
        attention = torch.sigmoid(of_teacher - middle)
        placed = (attention - torch.sigmoid(of_student - middle)).abs().mean()
        imitated = (attention * (teacher - student).square().mean(dim=1, keepdim=True)).mean()
        return TermValue(self.config.weight * (placed + imitated))


def as_volume(features: Tensor, heights: int) -> Tensor:
    """(B, C x heights, rows, columns), a channel's heights in a row, -> (B, C, heights, rows, columns)."""
    return features.unflatten(1, (-1, heights))


def strength(volume: Tensor) -> Tensor:
    """The smoothed mean of the channels' mean and largest value, (B, 1, heights, rows, columns), of a volume
    (B, C, heights, rows, columns). Beyond the border stands what stands at it."""
    strong = (volume.mean(dim=1, keepdim=True) + volume.amax(dim=1, keepdim=True)) / 2.0
    along = volume.new_tensor(SMOOTHING)
    kernel = along[:, None, None] * along[None, :, None] * along[None, None, :]
    return functional.conv3d(functional.pad(strong, (1,) * 6, mode="replicate"), kernel[None, None])
