"""Batches move to the device as a whole, whatever tuples and dictionaries hold their tensors."""

from dataclasses import fields, replace
from typing import TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


def to_device(batch: Batch, device: torch.device) -> Batch:
    """A batch (a dataclass) with every tensor on `device`; what is no tensor stays on the host."""
    return replace(batch, **{entry.name: _moved(getattr(batch, entry.name), device) for entry in fields(batch)})


def _moved(value: object, device: torch.device) -> object:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(entry, device) for name, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(part, device) for part in value))
    return value
