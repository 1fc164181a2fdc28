"""Methods whose weights depend on the gradients of the current step alone: PCGrad, MGDA and CAGrad.

MGDA and CAGrad see two objectives: the task, and the sum of the distillation terms. The papers take the gradients on
all shared parameters. Here a few shared layers stand for them, and the weights hold for the whole network.
"""

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from kd_training.distill.blending.gradients import SharedLayers
from kd_training.distill.blending.protocol import blend_weights, even_weights

Rule = Callable[[np.ndarray, int], np.ndarray]  # scalar products (1 + terms, 1 + terms) and step -> weights (1 + terms)
CAGRAD_RADIUS = 0.5  # c: how far CAGrad may leave the mean gradient, as a share of its length
SEARCH_STEPS = 60


class GradientRule:
    """Blending by a rule without memory."""

    def __init__(self, names: Sequence[str], rule: Rule) -> None:
        self.names, self.rule = tuple(names), rule
        self.weights = even_weights(names)
        self.figures: dict[str, float] = {}

    def update(self, step: int, task: Tensor, terms: dict[str, Tensor], shared: SharedLayers) -> None:
        """See Blending.update. Where a gradient is not finite, the weights stay."""
        products = shared.products(task, [terms[name] for name in self.names])
        if np.isfinite(products).all():
            self.weights = blend_weights(self.names, self.rule(products, step))

    def state_dict(self) -> dict[str, object]:
        """Nothing to save: the next step looks again."""
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Nothing to restore."""


def pcgrad(products: np.ndarray, step: int) -> np.ndarray:
    """PCGrad (arXiv:2001.06782): every gradient loses the part that conflicts with another; then all are added.

    A gradient meets the others in a random order, which is a function of the step and so the same in all processes.
    """
    count = len(products)
    order = np.random.default_rng(step)
    share = np.eye(count)  # row i: gradient i as a combination of all
    for i in range(count):
        for j in order.permutation(count):
            conflict = share[i] @ products[:, j]
            if j != i and conflict < 0.0:
                share[i, j] -= conflict / products[j, j]
    return share.sum(axis=0)


def mgda(products: np.ndarray, step: int) -> np.ndarray:
    """MGDA (arXiv:1810.04650) of two objectives: the shortest convex combination of their gradients.

    Where one of the two has no gradient, that combination would be 0.
    """
    both = _two_objectives(products)
    if both is None:
        return np.ones(len(products))
    distance = both[0, 0] - 2.0 * both[0, 1] + both[1, 1]
    task = float(np.clip((both[1, 1] - both[0, 1]) / distance, 0.0, 1.0)) if distance > 0.0 else 0.5
    return _of_two(task, 1.0 - task, len(products))


def cagrad(products: np.ndarray, step: int) -> np.ndarray:
    """CAGrad (arXiv:2110.14048) of two objectives: of a ball around the mean gradient g0, what helps the worse most.

    It is g0 + c |g0| g_w / |g_w|, with g_w the convex combination that minimises g_w . g0 + c |g0| |g_w|. The result
    is doubled, because the other methods add losses instead of averaging them.
    """
    both = _two_objectives(products)
    if both is None:
        return np.ones(len(products))
    mean = np.array([0.5, 0.5])
    radius = CAGRAD_RADIUS * _length(both, mean)

    def worst(share: float) -> float:
        mixed = np.array([share, 1.0 - share])
        return float(mixed @ both @ mean) + radius * _length(both, mixed)

    low, high = 0.0, 1.0
    for _ in range(SEARCH_STEPS):  # `worst` is convex
        left, right = low + (high - low) / 3.0, high - (high - low) / 3.0
        low, high = (low, right) if worst(left) < worst(right) else (left, high)
    mixed = np.array([low, 1.0 - low])
    length = _length(both, mixed)
    blended = 2.0 * mean + (2.0 * radius / length * mixed if length > 0.0 else 0.0)
    return _of_two(*blended, len(products))


def _two_objectives(products: np.ndarray) -> np.ndarray | None:
    """Scalar products (2, 2) of the task's gradient and of the sum of the terms'.

    None where one of them has no gradient. There is nothing to balance on the shared layers, and a factor that nothing
    bounds would hold for the layers behind them.
    """
    cross = products[0, 1:].sum()
    both = np.array([[products[0, 0], cross], [cross, products[1:, 1:].sum()]])
    return both if both.diagonal().min() > 0.0 else None


def _length(products: np.ndarray, shares: np.ndarray) -> float:
    return float(np.sqrt(max(0.0, shares @ products @ shares)))


def _of_two(task: float, terms: float, count: int) -> np.ndarray:
    return np.array([task] + [terms] * (count - 1))
