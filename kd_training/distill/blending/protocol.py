"""Blending: the weights of the task's loss and of the distillation terms, from step to step.

Every method ends in ONE weighted sum of losses and one backward pass. Methods that manipulate gradients fit in, too:
what they make of the gradients g_i is a linear combination, and its coefficients follow from the scalar products
g_i . g_j alone. The products are measured on a few shared layers, which all losses reach.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from kd_training.distill.blending.gradients import SharedLayers


class BlendWeights(NamedTuple):
    """Factors of the task's loss and of each term's."""

    task: float
    terms: dict[str, float]

    def total(self, task: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """The loss to call backward on."""
        return sum((self.terms[name] * value for name, value in terms.items()), start=self.task * task)


class Blending(Protocol):
    """Holds `weights`, which `update` may change, and `figures` of the last look at the gradients, to be logged."""

    weights: BlendWeights
    figures: dict[str, float]

    def update(self, step: int, task: Tensor, terms: dict[str, Tensor], shared: SharedLayers) -> None:
        """Look at the scalar losses of a step before their backward pass; every process calls it at the same steps.

        With accumulated gradients, it is called once a step, at the first micro-batch. The losses keep their graph.
        """
        ...

    def state_dict(self) -> dict[str, object]:
        """What to save so that a resumed run continues bit by bit."""
        ...

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore what was saved."""
        ...


def even_weights(names: Iterable[str]) -> BlendWeights:
    """All 1: the losses as their configured weights made them."""
    return BlendWeights(1.0, dict.fromkeys(names, 1.0))


def blend_weights(names: Sequence[str], values: Iterable[float]) -> BlendWeights:
    """Weights from one sequence of values, the task's first."""
    task, *rest = (float(value) for value in values)
    return BlendWeights(task, dict(zip(names, rest, strict=True)))
