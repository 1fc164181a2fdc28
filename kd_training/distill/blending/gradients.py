"""Scalar products of the losses' gradients on the anchors, over all processes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from kd_training.distill.blending.protocol import AllReduce


def gradient_products(
    task: Tensor, terms: Sequence[Tensor], anchors: Sequence[nn.Parameter], all_reduce: AllReduce
) -> np.ndarray:
    """g_i . g_j (1 + terms, 1 + terms) float64, the task first; a loss that does not reach an anchor counts as 0 there.

    Gradients are averaged over the processes before they are multiplied, as the optimiser's are.
    """
    flat = all_reduce(torch.stack([_flat_gradient(loss, anchors) for loss in (task, *terms)])).double()
    return (flat @ flat.T).cpu().numpy()


def _flat_gradient(loss: Tensor, anchors: Sequence[nn.Parameter]) -> Tensor:
    """The gradient as one float32 vector."""
    parts: Sequence[Tensor | None] = [None] * len(anchors)
    if loss.requires_grad:
        parts = torch.autograd.grad(loss, list(anchors), retain_graph=True, allow_unused=True)
    pairs = zip(parts, anchors, strict=True)
    flat = [torch.zeros_like(anchor) if part is None else part for part, anchor in pairs]
    return torch.cat([part.detach().reshape(-1).float() for part in flat])
