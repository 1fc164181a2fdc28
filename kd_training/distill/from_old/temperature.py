"""Elastic temperature: each class of the old student is imitated as softly as it is unsure, as firmly as it drifts.

T = clip(T0 (1 + a H2 / log 2 - b drift), 1, 8), with H2 the mean binary entropy of the old student's foreground in the
batch, and drift the moving average of KL(old || new) there.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kd_training.batches.processes import TrainingProcesses
from kd_training.config.old_student import TemperatureConfig

LOWEST, HIGHEST = 1.0, 8.0


class ElasticTemperature:
    """Temperatures of K classes, and the drift (K,) that a resumed run goes on with."""

    def __init__(self, config: TemperatureConfig, classes: int) -> None:
        self.config = config
        self.drift, self.seen = torch.zeros(classes), torch.zeros(classes)
        self.last = torch.full((classes,), config.start)

    def of(self, old: Tensor, foreground: Tensor, processes: TrainingProcesses) -> Tensor:
        """Temperatures (K,) for the old student's logits (B, K, rows, columns); a class without foreground in the
        batch keeps its last one."""
        if self.config.elastic:
            entropy, there = class_means(binary_entropy(old), foreground, processes)
            now = temperature(self.config, entropy.cpu(), self.drift)
            self.last = torch.where(there.cpu(), now, self.last)
        return self.last.to(old.device)

    def observe(self, old: Tensor, new: Tensor, foreground: Tensor, processes: TrainingProcesses) -> None:
        """Let the drift follow the logits of both (B, K, rows, columns); the first batch of a class counts whole."""
        if not self.config.elastic:
            return
        found, there = (value.cpu() for value in class_means(divergence(old, new.detach()), foreground, processes))
        share = torch.where(self.seen > 0, 1.0 - self.config.ema, 1.0)
        self.drift = torch.where(there, torch.lerp(self.drift, found, share), self.drift)
        self.seen = self.seen + there

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs."""
        return {"drift": self.drift, "seen": self.seen, "last": self.last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.drift, self.seen, self.last = state["drift"], state["seen"], state["last"]


def temperature(config: TemperatureConfig, entropy: Tensor, drift: Tensor) -> Tensor:
    """T (K,) of mean entropies (K,) in nats and drifts (K,)."""
    softened = 1.0 + config.entropy * entropy / math.log(2.0) - config.drift * drift
    return (config.start * softened).clamp(LOWEST, HIGHEST)


def binary_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of sigmoid(logits), in their shape; log 2 at logit 0."""
    return functional.binary_cross_entropy_with_logits(logits, torch.sigmoid(logits), reduction="none")


def divergence(old: Tensor, new: Tensor) -> Tensor:
    """KL(old || new) of binary probabilities by their logits, in their shape; 0 where they agree."""
    cross = functional.binary_cross_entropy_with_logits(new, torch.sigmoid(old), reduction="none")
    return cross - binary_entropy(old)


def class_means(values: Tensor, mask: Tensor, processes: TrainingProcesses) -> tuple[Tensor, Tensor]:
    """Means (K,) of values (B, K, rows, columns) over a mask in the batches of all processes, 0 where it is empty; and
    which classes (K,) it has."""
    sums = processes.mean((values * mask).sum(dim=(0, 2, 3)))
    counts = processes.mean(mask.float().sum(dim=(0, 2, 3)))
    return sums / torch.where(counts > 0, counts, 1.0), counts > 0
