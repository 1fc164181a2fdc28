"""A toy with a task and three distillation terms that agree and conflict by turns, to try blending on."""

import torch
from torch import Tensor, nn

from kd_training.distill.blending.gradients import AllReduce, SharedLayers
from kd_training.distill.blending.protocol import Blending, BlendWeights

TOY_TERMS = ("near", "far", "against")


class Toy(nn.Module):
    """A network of a shared layer and a head; `factors` multiplies terms by name."""

    def __init__(self, factors: dict[str, float]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.factors = factors
        self.shared, self.head = nn.Linear(6, 5), nn.Linear(5, 2)
        self.targets = torch.randn(3, 5)

    def losses(self, samples: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Means over samples (N, 6), so that equal parts of a batch average to the whole."""
        hidden = torch.tanh(self.shared(samples))
        task = self.head(hidden).sub(samples[:, :2]).square().mean()
        squares = [hidden.sub(target).square().mean() for target in self.targets]
        terms = {"near": squares[0], "far": 3.0 * squares[1], "against": 0.1 * squares[2] - 0.5 * task}
        return task, {name: self.factors.get(name, 1.0) * value for name, value in terms.items()}


def alone(tensor: Tensor) -> Tensor:
    """The mean over a single process."""
    return tensor


def samples_of(step: int) -> Tensor:
    """Eight samples (8, 6), a function of the step."""
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(step))


def train(
    toy: Toy,
    blending: Blending,
    steps: int,
    first: int = 0,
    all_reduce: AllReduce | None = None,
    part: slice = slice(None),  # noqa: B008
) -> tuple[list[Tensor], BlendWeights]:
    """Train on steps first ... steps - 1, on `part` of each batch -> the parameters, and the last weights.

    With `all_reduce` the gradients are averaged over the processes, as DDP does.
    """
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.2)
    for step in range(first, steps):
        task, terms = toy.losses(samples_of(step)[part])
        blending.update(step, task, terms, SharedLayers(list(toy.shared.parameters()), all_reduce or alone))
        blending.weights.total(task, terms).backward()
        for parameter in toy.parameters() if all_reduce else ():
            parameter.grad = all_reduce(parameter.grad)
        optimizer.step()
        optimizer.zero_grad()
    return [parameter.detach().clone() for parameter in toy.parameters()], blending.weights
