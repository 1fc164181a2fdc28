"""Methods that learn the weights together with the network, by an Adam of their own: uncertainty and GradNorm."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_training.distill.blending.gradients import SharedLayers
from kd_training.distill.blending.protocol import blend_weights, even_weights

UNCERTAINTY_RATE = 0.01
GRADNORM_RATE = 0.025
GRADNORM_ASYMMETRY = 1.5  # alpha: how much slow losses are favoured


class LearntWeights:
    """One number per loss, the task's first, learnt by Adam in float64, alike in all processes."""

    def __init__(self, names: Sequence[str], start: float, rate: float) -> None:
        self.names = tuple(names)
        self.learnt = torch.full((1 + len(self.names),), start, dtype=torch.float64)
        self.adam = torch.optim.Adam([self.learnt], lr=rate)
        self.weights = even_weights(names)
        self.figures: dict[str, float] = {}

    def learn(self, gradient: Tensor) -> None:
        """One step of Adam."""
        self.learnt.grad = gradient
        self.adam.step()
        self.learnt.grad = None

    def state_dict(self) -> dict[str, object]:
        """See Blending.state_dict."""
        weights = [self.weights.task, *self.weights.terms.values()]
        return {"learnt": self.learnt.clone(), "adam": self.adam.state_dict(), "weights": weights}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """See Blending.load_state_dict."""
        self.learnt.copy_(state["learnt"])
        self.adam.load_state_dict(state["adam"])
        self.weights = blend_weights(self.names, state["weights"])


class Uncertainty(LearntWeights):
    """Uncertainty weighting (arXiv:1705.07115): sum of exp(-s_i) L_i / 2 + s_i / 2, s_i the logarithms of variances.

    Nearly a normalisation: at rest a loss weighs 1 / (2 L_i).
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names, 0.0, UNCERTAINTY_RATE)

    def update(self, step: int, task: Tensor, terms: dict[str, Tensor], shared: SharedLayers) -> None:
        """See Blending.update."""
        self.learn((1.0 - torch.exp(-self.learnt) * _values(task, [terms[name] for name in self.names], shared)) / 2.0)
        self.weights = blend_weights(self.names, (torch.exp(-self.learnt) / 2.0).tolist())


class GradNorm(LearntWeights):
    """GradNorm (arXiv:1711.02257): weights that make the gradients equally long, longer for losses that shrink slowly.

    Slowly means: less than the other losses since the first step. The weights add up to the number of losses.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names, 1.0, GRADNORM_RATE)
        self.first = torch.zeros_like(self.learnt)  # the losses of the first step

    def update(self, step: int, task: Tensor, terms: dict[str, Tensor], shared: SharedLayers) -> None:
        """See Blending.update. Where a gradient is not finite, the weights stay."""
        values = _values(task, [terms[name] for name in self.names], shared)
        self.first = torch.where(self.first > 0.0, self.first, values)
        products = shared.products(task, [terms[name] for name in self.names])
        lengths = torch.from_numpy(products.diagonal().copy()).sqrt()
        if not lengths.isfinite().all():
            return
        shrunk = values / self.first.clamp(min=torch.finfo(torch.float64).tiny)
        rate = (shrunk / shrunk.mean()).nan_to_num(1.0)
        target = (self.learnt * lengths).mean() * rate**GRADNORM_ASYMMETRY
        self.learn(torch.sign(self.learnt * lengths - target) * lengths)
        self.learnt.clamp_(min=1e-6).mul_(len(self.learnt) / self.learnt.sum())
        self.weights = blend_weights(self.names, self.learnt.tolist())

    def state_dict(self) -> dict[str, object]:
        """See Blending.state_dict."""
        return {**super().state_dict(), "first": self.first.clone()}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """See Blending.load_state_dict."""
        super().load_state_dict(state)
        self.first.copy_(state["first"])


def _values(task: Tensor, terms: Sequence[Tensor], shared: SharedLayers) -> Tensor:
    """The losses (1 + terms) float64, averaged over the processes, the task's first."""
    return shared.mean(torch.stack([task, *terms]).detach()).double().cpu()
