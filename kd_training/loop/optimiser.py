"""Optimiser, learning-rate schedule, moving average of the weights, and the allocator setting that CPU training
wants."""

import ctypes
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kd_training.config.sections import ScheduleConfig

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt parameters of glibc


def build_optimizer(
    model: nn.Module, helper: nn.Module | None, rates: Mapping[str, float], schedule: ScheduleConfig
) -> torch.optim.AdamW:
    """AdamW over the trained parameters of model and helper, no decay for biases and norms; each group's `peak` is its
    rate. `rates`: parts of the model, by name, that learn at a share of the rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    parts = [(model, name.split(".")[0], parameter) for name, parameter in model.named_parameters()]
    parts += [(helper, "", parameter) for parameter in ([] if helper is None else helper.parameters())]
    for owner, part, parameter in parts:
        if parameter.requires_grad:
            rate = schedule.learning_rate * (rates.get(part, 1.0) if owner is model else 1.0)
            decay = schedule.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    ordered = sorted(groups.items(), key=lambda item: (-item[0][0], item[0][1]))
    return torch.optim.AdamW(
        [{"params": params, "lr": rate, "peak": rate, "weight_decay": decay} for (rate, decay), params in ordered]
    )


def clip_gradients(model: nn.Module, helper: nn.Module | None, most: float) -> dict[str, float]:
    """Shorten the gradients of the model, and apart from them those of the helper, to the norm `most`; norms before."""
    norms = {"gradient_norm": float(nn.utils.clip_grad_norm_(model.parameters(), most))}
    if helper is not None and any(True for _ in helper.parameters()):
        norms["helper_gradient_norm"] = float(nn.utils.clip_grad_norm_(helper.parameters(), most))
    return norms


def rate_factor(step: int, steps: int, warmup_steps: int) -> float:
    """Linear warm-up, then cosine to zero at the last of `steps`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


class Ema:
    """Exponential moving average of a model's parameters; buffers (batch norm statistics) are averages already and are
    taken as they are."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters() if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the model; early steps count more, so that the start is forgotten soon."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        current = dict(model.named_parameters())
        torch._foreach_lerp_(
            list(self.average.values()), [current[name].detach() for name in self.average], 1.0 - decay
        )

    def weights(self, model: nn.Module) -> dict[str, Tensor]:
        """The model's state with averaged parameters."""
        return {**model.state_dict(), **self.average}

    def state_dict(self) -> dict[str, Tensor]:
        """What to save."""
        return dict(self.average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what was saved."""
        for name, value in self.average.items():
            value.copy_(state[name])


def tune_malloc() -> None:
    """Let glibc keep large freed blocks: CPU training reuses the same sizes every step, and fresh pages cost a quarter
    of its time."""
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        return  # another C library: its own habits
