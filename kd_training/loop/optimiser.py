"""Optimiser, learning-rate schedule and gradient clipping."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from kd_training.config.sections import ScheduleConfig


def build_optimizer(
    model: nn.Module, adapters: nn.Module | None, multipliers: Mapping[str, float], schedule: ScheduleConfig
) -> torch.optim.AdamW:
    """AdamW over the trained parameters of model and adapters, without decay for biases and norms; each group's `peak`
    is its highest learning rate. `multipliers`: parts of the model, by name, that learn at a share of the rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    parts = [(multipliers.get(name.split(".")[0], 1.0), value) for name, value in model.named_parameters()]
    parts += [(1.0, value) for value in ([] if adapters is None else adapters.parameters())]
    for multiplier, parameter in parts:
        if parameter.requires_grad:
            decay = schedule.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((schedule.learning_rate * multiplier, decay), []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1]))
    return torch.optim.AdamW(
        [{"params": params, "lr": rate, "peak": rate, "weight_decay": decay} for (rate, decay), params in ordered]
    )


def clip_gradients(model: nn.Module, adapters: nn.Module | None, most: float) -> dict[str, float]:
    """Shorten the gradients of model and adapters together to the norm `most`; the norms before, of each part.

    Both are shortened by one factor: adapters that are clipped by themselves learn at another pace than the model, and
    soon leave it nothing to imitate.
    """
    parts = {"gradient_norm": model, **({} if adapters is None else {"adapters_gradient_norm": adapters})}
    gradients = {
        name: [value.grad for value in part.parameters() if value.grad is not None] for name, part in parts.items()
    }
    norms = {name: nn.utils.get_total_norm(values) for name, values in gradients.items() if values}
    together = nn.utils.get_total_norm(list(norms.values()))
    for name in norms:
        nn.utils.clip_grads_with_norm_(parts[name].parameters(), most, together)
    return {name: float(norm) for name, norm in norms.items()}


def rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear warm-up, then cosine to zero at the last of `steps`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * progress))
