"""Imitation of features at one layer, and of where they are strong (DistillBEV, arXiv:2309.15109)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import AttentionConfig, AttentionSource, FeatureConfig, LayerPair
from kd_training.distill.adapters import HEAD_LAYERS
from kd_training.distill.terms.attention import attention, attention_loss, effective_cells
from kd_training.distill.terms.regions import false_positives, region_weights
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch, TermValue


@dataclass(frozen=True)
class FeatureTerm:
    """L = weight / B  sum_cells M S A |F_T - G(F_S)|^2, with M the region, S the scale and A the attention of a cell.

    As published, the loss is a sum over channels and cells divided by the number of rigs B. Its size depends on the
    layer's shape, so a weight does not carry over to another layer: gradient blending is the cure.
    """

    pair: LayerPair
    config: FeatureConfig
    grid: BevGrid

    @property
    def name(self) -> str:
        """Feature and the student's layer."""
        return f"feature/{self.pair.student}"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss and, for the log, over how many cells the layer's attention is spread."""
        layer = batch.layers[self.pair.student]
        weights = self._region_weights(batch, layer)
        attention = attention_weights(*layer.energies, self.config)
        if self.config.attention:
            weights = weights * attention
        loss = self.config.weight * feature_loss(layer.student, layer.teacher, weights)
        return TermValue(loss, {f"attention_cells/{self.pair.student}": effective_cells(attention)})

    def _region_weights(self, batch: ComparedBatch, layer: AdaptedLayer) -> Tensor:
        """M S of every cell (B, rows, columns); without regions every cell is foreground."""
        if not self.config.regions:
            return torch.full_like(layer.teacher[:, 0], self.config.foreground)
        footprints = batch.footprints(self.grid, layer.shape)
        wrong = None
        if self.config.false_positives and self.pair.student == self.pair.teacher and self.pair.student in HEAD_LAYERS:
            probability = torch.sigmoid(batch.teacher.heatmap.float())
            if batch.truth.trust is not None:  # where the truth is in doubt nobody is wrong
                probability = probability * batch.truth.trust.known
            wrong = false_positives(probability, batch.truth.heatmap, footprints.inside, self.config.threshold)
        return region_weights(footprints, wrong, self.config)


@dataclass(frozen=True)
class AttentionTerm:
    """L = weight / B  sum_cells |P(F_T) - P(G(F_S))|, with P the mean over the channels of |F|."""

    pair: LayerPair
    config: AttentionConfig

    @property
    def name(self) -> str:
        """Attention and the student's layer."""
        return f"attention/{self.pair.student}"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        return TermValue(self.config.weight * attention_loss(*batch.layers[self.pair.student].energies))


def feature_loss(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Squared differences of features (B, C, rows, columns), each cell times its weight (B, rows, columns)."""
    squares = (teacher - student).square().sum(dim=1)
    return (weights * squares).sum() / len(student)


def attention_weights(student: Tensor, teacher: Tensor, config: FeatureConfig) -> Tensor:
    """A (B, rows, columns), without gradient, of energies P: the mean of both sides' attention, or the teacher's."""
    of_teacher = attention(teacher, config.temperature)
    if config.attention_from is AttentionSource.teacher:
        return of_teacher
    return (of_teacher + attention(student.detach(), config.temperature)) / 2.0
