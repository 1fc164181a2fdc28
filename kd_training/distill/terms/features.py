"""Imitation of features at one layer: regions, spatial attention and scale (DistillBEV, arXiv:2309.15109).

Both losses are sums over channels and cells divided by the number of rigs, as published: their size depends on the
layer's shape, so that weights do not carry over to another (gradient blending is the cure).
"""

from torch import Tensor

from kd_training.config.distill import AttentionSource, FeatureConfig
from kd_training.distill.terms.attention import attention


def feature_loss(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Squared differences of features (B, C, rows, columns), each cell times its weight (B, rows, columns)."""
    squares = (teacher - student).square().sum(dim=1)
    return (weights * squares).sum() / len(student)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Absolute differences of energies P (B, rows, columns)."""
    return (teacher - student).abs().sum() / len(student)


def attention_weights(student: Tensor, teacher: Tensor, config: FeatureConfig) -> Tensor:
    """A (B, rows, columns), without gradient, of energies P: the mean of both sides' attention, or the teacher's."""
    of_teacher = attention(teacher, config.temperature)
    if config.attention_from is AttentionSource.teacher:
        return of_teacher
    return (of_teacher + attention(student.detach(), config.temperature)) / 2.0
