"""Scalar products of the losses' gradients on a few shared layers, over all processes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

AllReduce = Callable[[Tensor], Tensor]  # a tensor's mean over the processes; the identity in a single one


@dataclass(frozen=True)
class SharedLayers:
    """Parameters that every loss reaches, and `mean`, which averages a tensor over the processes."""

    parameters: Sequence[nn.Parameter]
    mean: AllReduce

    def products(self, task: Tensor, terms: Iterable[Tensor]) -> np.ndarray:
        """g_i . g_j (1 + terms, 1 + terms) float64, the task first. A loss counts as 0 in a layer it does not reach.

        Gradients are averaged over the processes before they are multiplied, as the optimiser's are.
        """
        flat = self.mean(torch.stack([self._flat_gradient(loss) for loss in (task, *terms)])).double()
        return (flat @ flat.T).cpu().numpy()

    def _flat_gradient(self, loss: Tensor) -> Tensor:
        """The loss's gradient on all parameters as one float32 vector."""
        parts: Sequence[Tensor | None] = [None] * len(self.parameters)
        if loss.requires_grad:
            parts = torch.autograd.grad(loss, list(self.parameters), retain_graph=True, allow_unused=True)
        pairs = zip(parts, self.parameters, strict=True)
        flat = [torch.zeros_like(parameter) if part is None else part for part, parameter in pairs]
        return torch.cat([part.detach().reshape(-1).float() for part in flat])
