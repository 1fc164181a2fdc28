"""Spatial attention: where features are strong (DistillBEV, arXiv:2309.15109)."""

import torch
from torch import Tensor


def energy(features: Tensor) -> Tensor:
    """P: mean absolute value over the channels of (B, C, rows, columns), as (B, rows, columns) float32."""
    return features.float().abs().mean(dim=1)


def attention(energy: Tensor, temperature: float) -> Tensor:
    """N: rows x columns times the softmax over all cells of P / temperature, (B, rows, columns); its mean is 1.

    P is divided by its mean first, which the published formula does not do: features that are k times as large then
    have the same attention. A temperature is therefore in means of P, not in units of P.
    """
    flat = energy.flatten(1)
    relative = flat / flat.mean(dim=1, keepdim=True).clamp(min=torch.finfo(flat.dtype).tiny)
    return flat.shape[1] * torch.softmax(relative / temperature, dim=1).reshape(energy.shape)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Absolute differences of energies P (B, rows, columns), summed over cells and divided by the number of rigs B."""
    return (teacher - student).abs().sum() / len(student)


def effective_cells(attention: Tensor) -> Tensor:
    """Over how many cells an attention (B, rows, columns) is spread: 1 / sum of squared shares, mean over B.

    The result lies between 1 and rows x columns.
    """
    share = attention.flatten(1) / attention.flatten(1).sum(dim=1, keepdim=True)
    return (1.0 / share.square().sum(dim=1)).mean()
