"""Blending: what sets the weights of the task and of the distillation terms (docs/distillation.md compares methods)."""

from collections.abc import Sequence

from kd_training.config.distill import BlendingConfig, BlendingMethod
from kd_training.distill.blending.agb import AutoBlending
from kd_training.distill.blending.by_gradients import GradientRule, cagrad, mgda, pcgrad
from kd_training.distill.blending.fixed import FixedWeights
from kd_training.distill.blending.learnt import GradNorm, Uncertainty
from kd_training.distill.blending.protocol import Blending


def build_blending(config: BlendingConfig, names: Sequence[str]) -> Blending:
    """The method of a configuration for terms of these names.

    Raises ConfigError where a number of `agb` is out of range.
    """
    match config.method:
        case BlendingMethod.agb:
            return AutoBlending(names, config)
        case BlendingMethod.fixed:
            return FixedWeights(names)
        case BlendingMethod.pcgrad:
            return GradientRule(names, pcgrad)
        case BlendingMethod.mgda:
            return GradientRule(names, mgda)
        case BlendingMethod.cagrad:
            return GradientRule(names, cagrad)
        case BlendingMethod.uncertainty:
            return Uncertainty(names)
        case BlendingMethod.gradnorm:
            return GradNorm(names)
