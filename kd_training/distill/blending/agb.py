"""AGB-KD, automatic gradient blending (after High Technology Letters 33(12), 2023): no search over weights.

The blended gradient lies between the task's gradient and the mean direction of the terms', and is as long as the
task's. One number decides how far it turns. The size of a distillation loss does not matter: multiplied by 1000, the
loss gets a thousandth of the weight.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kd_perception.errors import ConfigError
from kd_training.config.distill import BlendingConfig
from kd_training.distill.blending.gradients import SharedLayers
from kd_training.distill.blending.protocol import BlendWeights, blend_weights

OPPOSED = 0.1  # length of the sum of the terms' unit gradients; a shorter one makes their weights explode
SAME = 1e-6  # sine of an angle; two directions that are closer count as one
AGAINST = 1e-6  # 1 - cosine^2; below it the terms only contradict the task


class RawWeights(NamedTuple):
    """Weights of one look at the gradients: of the task, and of the terms (terms,).

    `known` (terms,) bool: whether the term had a gradient.
    """

    task: float
    terms: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class TurnRule:
    """How far the task's gradient turns: a share `kappa` of the angle to the terms', at most `theta_max` radians."""

    kappa: float
    theta_max: float


def raw_weights(products: np.ndarray, rule: TurnRule) -> RawWeights | None:
    """Weights from the gradients' scalar products (1 + terms, 1 + terms), the task first.

    Returns None if the task has no gradient or a product is not finite.

    |w_task g_task + sum w_j g_j| = |g_task|, and the angle between both is at most theta_max. A term without gradient
    gets 0, and so do terms that `_agreeing` leaves out. All get 0 if together they only contradict the task.
    """
    length = np.sqrt(np.diag(products))
    if not np.isfinite(products).all() or length[0] == 0.0:
        return None
    known = length[1:] > 0.0
    terms = np.zeros(len(known))
    unit = products / np.maximum(np.outer(length, length), np.finfo(float).tiny)  # cosines
    chosen = _agreeing(unit, [int(index) + 1 for index in np.flatnonzero(known)])
    if not chosen:
        return RawWeights(1.0, terms, known)
    total = math.sqrt(unit[np.ix_(chosen, chosen)].sum())  # of the sum of the unit gradients
    cosine = float(np.clip(unit[0, chosen].sum() / total, -1.0, 1.0))
    blend = _blend(cosine, rule)
    if blend is None:
        return RawWeights(1.0, terms, known)
    task, share = blend
    chosen = np.array(chosen)
    terms[chosen - 1] = share * length[0] / (length[chosen] * total)
    return RawWeights(task, terms, known)


def task_cosines(products: np.ndarray) -> list[float]:
    """Cosines (terms) between the terms' gradients and the task's; 0 where a term has none."""
    length = np.sqrt(np.diag(products))
    return (products[0, 1:] / np.maximum(length[0] * length[1:], np.finfo(float).tiny)).tolist()


def _agreeing(unit: np.ndarray, chosen: list[int]) -> list[int]:
    """Leave terms out until the sum of the others' unit gradients is long enough.

    The first to go agrees least with the task. Leaving out the shortest would depend on the losses' scale.
    """
    while len(chosen) > 1 and unit[np.ix_(chosen, chosen)].sum() < OPPOSED**2:
        chosen = np.delete(chosen, np.argmin(unit[0, chosen])).tolist()
    return chosen


def _blend(cosine: float, rule: TurnRule) -> tuple[float, float] | None:
    """Factors of the task's unit gradient and of the terms' unit direction, from the cosine between them.

    A conflicting part (cosine < 0) is first removed from the terms' direction. None if nothing is left of it.
    """
    sine = math.sqrt(1.0 - cosine**2)
    if cosine < 0.0:
        if sine**2 < AGAINST:
            return None
        phi = min(rule.kappa * math.pi / 2.0, rule.theta_max)
        return math.cos(phi) - math.sin(phi) * cosine / sine, math.sin(phi) / sine
    if sine < SAME:
        return 1.0 - rule.kappa, rule.kappa
    theta = math.atan2(sine, cosine)
    phi = min(rule.kappa * theta, rule.theta_max)
    return math.sin(theta - phi) / sine, math.sin(phi) / sine


class AutoBlending:
    """Automatic gradient blending: looks at the gradients every `refresh` steps, averages the weights in log space."""

    def __init__(self, names: Sequence[str], config: BlendingConfig) -> None:
        if not 0.0 <= config.kappa < 1.0:
            raise ConfigError(f"distill.blending.kappa is {config.kappa:g}; choose from 0 (no distillation) to below 1")
        if not 0.0 < config.theta_max < 90.0:
            raise ConfigError(f"distill.blending.theta_max is {config.theta_max:g} degrees; choose between 0 and 90")
        if config.refresh < 1:
            raise ConfigError(f"distill.blending.refresh is {config.refresh}; choose 1 or more steps")
        if not 0.0 <= config.ema < 1.0:
            raise ConfigError(f"distill.blending.ema is {config.ema:g}; choose from 0 (no averaging) to below 1")
        self.names, self.config = tuple(names), config
        self.rule = TurnRule(config.kappa, math.radians(config.theta_max))
        self.average = np.ones(1 + len(self.names))  # over the looks that counted
        self.looks = np.zeros(1 + len(self.names))  # how many counted, for each
        self.weights: BlendWeights = blend_weights(self.names, [1.0] + [0.0] * len(self.names))
        self.figures: dict[str, float] = {}  # cosine of each term's gradient with the task's

    def update(self, step: int, task: Tensor, terms: dict[str, Tensor], shared: SharedLayers) -> None:
        """See Blending.update."""
        if step % self.config.refresh:
            return
        products = shared.products(task, [terms[name] for name in self.names])
        raw = raw_weights(products, self.rule)
        if raw is not None:
            self.figures = dict(zip((f"cosine/{name}" for name in self.names), task_cosines(products), strict=True))
            self._accept(raw)

    def _accept(self, raw: RawWeights) -> None:
        """Average in log space, bias-corrected as in Adam: at the first look the adapters have learnt nothing yet.

        A term that is left out weighs 0 until the next look, and its average waits. A term without gradient (a scene
        without boxes) keeps its average.
        """
        values = np.append(raw.task, raw.terms)
        seen = values > 0.0
        if not seen[1:].any() and raw.known.any():  # no distillation this time
            self.weights = blend_weights(self.names, [1.0] + [0.0] * len(self.names))
            return
        self.looks[seen] += 1.0
        share = (1.0 - self.config.ema) / (1.0 - self.config.ema ** self.looks[seen])
        # A product of powers, not exp of a mean of logarithms: exact where a loss is multiplied by a power of two.
        self.average[seen] *= (values[seen] / self.average[seen]) ** share
        shown = (seen | np.append(False, ~raw.known)) & (self.looks > 0.0)
        self.weights = blend_weights(self.names, np.where(shown, self.average, 0.0))

    def state_dict(self) -> dict[str, object]:
        """See Blending.state_dict."""
        weights = [self.weights.task, *self.weights.terms.values()]
        return {
            "average": torch.from_numpy(self.average.copy()),
            "looks": torch.from_numpy(self.looks.copy()),
            "weights": torch.tensor(weights, dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """See Blending.load_state_dict."""
        self.average, self.looks = state["average"].numpy().copy(), state["looks"].numpy().copy()
        self.weights = blend_weights(self.names, state["weights"].tolist())
