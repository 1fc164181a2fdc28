"""Imitation of standardised features: loud channels and the teacher's scale no longer rule (PKD, arXiv:2207.02039)."""

from dataclasses import dataclass

from torch import Tensor

from kd_training.config.distill import LayerPair, PearsonConfig
from kd_training.distill.terms.term import ComparedBatch, TermValue

LEAST_VARIANCE = 1e-6  # of a channel: a dead one stays near 0 instead of becoming noise
OVER = (0, 2, 3)  # rigs and cells


@dataclass(frozen=True)
class PearsonTerm:
    """L = weight  mean over channels and cells of (Z(F_T) - Z(G(F_S)))^2, where Z standardises each channel.

    The loss is twice 1 - r, the mean over channels of Pearson's correlation: 0 for features alike but for scale and
    shift, 2 for unrelated ones. Mean and variance are those of the process's batch.
    """

    pair: LayerPair
    config: PearsonConfig

    @property
    def name(self) -> str:
        """Pearson and the student's layer."""
        return f"pearson/{self.pair.student}"

    def __call__(self, batch: ComparedBatch) -> TermValue:
        """The loss alone."""
        layer = batch.layers[self.pair.student]
        difference = standardised(layer.teacher, OVER) - standardised(layer.student, OVER)
        return TermValue(self.config.weight * difference.square().mean())


def standardised(features: Tensor, over: tuple[int, ...]) -> Tensor:
    """Features of any shape with mean 0 and variance 1 over these of their dimensions."""
    variance, mean = features.var(dim=over, correction=0, keepdim=True), features.mean(dim=over, keepdim=True)
    return (features - mean) / (variance + LEAST_VARIANCE).sqrt()
