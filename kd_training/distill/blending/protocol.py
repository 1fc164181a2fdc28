"""Blending: the weights of the task's loss and of the distillation terms, from step to step.

Every method, those that manipulate gradients included, ends in ONE weighted sum of losses and one backward pass: what
they make of the gradients g_i is a linear combination of them, and its coefficients follow from the scalar products
g_i . g_j alone. These are measured on a few parameters, the shared layers, which all losses reach.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from torch import Tensor, nn

AllReduce = Callable[[Tensor], Tensor]  # a tensor's mean over the processes; the identity in a single one


class BlendWeights(NamedTuple):
    """Factors of the task's loss and of each term's."""

    task: float
    terms: dict[str, float]

    def total(self, task: Tensor, terms: dict[str, Tensor]) -> Tensor:
        """The loss to call backward on."""
        return sum((self.terms[name] * value for name, value in terms.items()), start=self.task * task)


class Blending(Protocol):
    """Holds `weights`, which `update` may change, and `figures`, what else it saw when it last looked, to be logged."""

    weights: BlendWeights
    figures: dict[str, float]

    def update(
        self,
        step: int,
        task: Tensor,
        terms: dict[str, Tensor],
        shared_layers: Sequence[nn.Parameter],
        all_reduce: AllReduce,
    ) -> None:
        """Look at the losses of a step, before their backward pass; every process calls it at the same steps.

        With accumulated gradients, once a step, at its first part. The losses' graph stays.
        """
        ...

    def state_dict(self) -> dict[str, object]:
        """What to save so that a resumed run continues bit by bit."""
        ...

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore what was saved."""
        ...


def even_weights(names: Sequence[str]) -> BlendWeights:
    """All 1: the losses as their configured weights made them."""
    return BlendWeights(1.0, dict.fromkeys(names, 1.0))


def blend_weights(names: Sequence[str], values: Sequence[float]) -> BlendWeights:
    """Weights from the task's and the terms' values behind each other."""
    task, *rest = (float(value) for value in values)
    return BlendWeights(task, dict(zip(names, rest, strict=True)))
