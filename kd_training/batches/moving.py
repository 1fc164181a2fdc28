"""How a batch's tensors get to the device that trains."""

import torch
from torch import Tensor


def fastest_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device. To a GPU it goes through pinned memory, so that nobody waits for the copy.

    The copy is in the device's queue: what is computed later finds it complete.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
