"""Scalar products of the losses' gradients on the shared layers, over all processes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from kd_training.distill.blending.protocol import AllReduce


def gradient_products(
    task: Tensor, terms: Sequence[Tensor], shared_layers: Sequence[nn.Parameter], all_reduce: AllReduce
) -> np.ndarray:
    """g_i . g_j (1 + terms, 1 + terms) float64, the task first. A loss counts as 0 in a shared layer it does not reach.

    Gradients are averaged over the processes before they are multiplied, as the optimiser's are.
    """
    flat = all_reduce(torch.stack([_flat_gradient(loss, shared_layers) for loss in (task, *terms)])).double()
    return (flat @ flat.T).cpu().numpy()


def _flat_gradient(loss: Tensor, shared_layers: Sequence[nn.Parameter]) -> Tensor:
    """The gradient as one float32 vector."""
    parts: Sequence[Tensor | None] = [None] * len(shared_layers)
    if loss.requires_grad:
        parts = torch.autograd.grad(loss, list(shared_layers), retain_graph=True, allow_unused=True)
    pairs = zip(parts, shared_layers, strict=True)
    flat = [torch.zeros_like(shared) if part is None else part for part, shared in pairs]
    return torch.cat([part.detach().reshape(-1).float() for part in flat])
