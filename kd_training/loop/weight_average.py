"""The moving average of a model's weights, which is what ships."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_model(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a model's parameters. Buffers (batch norm statistics) are averages already and are
    copied.

    Ours is the decay alone: PyTorch's is constant from the first step on, this one starts at 0.1 and rises, so that the
    start is forgotten soon.
    """

    def move(averages: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        torch._foreach_lerp_(averages, current, 1.0 - warm_decay(int(count), decay))

    average = AveragedModel(model, multi_avg_fn=move)
    set_updates(average, 0)
    return average


def warm_decay(count: int, decay: float) -> float:
    """The decay of update `count`, from 1 on."""
    return min(decay, count / (9.0 + count))


def set_updates(average: AveragedModel, updates: int) -> None:
    """State after how many updates an average is; its beginning counts as a model that was averaged, or the first
    update would replace it."""
    average.n_averaged.fill_(1 + updates)


def averaged_parameters(average: AveragedModel) -> dict[str, Tensor]:
    """The trained parameters' averages, by name: with the model they are all that a resumed run needs."""
    return {name: value.detach() for name, value in average.module.named_parameters() if value.requires_grad}
