"""How far box codes of a network are from their targets: L1, and cross-entropy of the direction.

`kd_perception.student.box_codes` says what the codes are.
"""

import torch
from torch import Tensor
from torch.nn import functional

from kd_perception.student.box_codes import BoxCoding


def code_errors(outputs: Tensor, targets: Tensor, coding: BoxCoding) -> Tensor:
    """Errors (K, codes) of a network's outputs (K, codes); 0 where the target is NaN, and where it is met.

    Velocities in metres per second. The direction is the cross-entropy of the probabilities (1 + cos t) / 2 and
    (1 + sin t) / 2 minus their own entropy: where the truth is ambiguous its minimum is the mean of what may be true,
    which points to the likelier side, and there is no yaw at which a code jumps.
    """
    outputs, known = outputs.float(), torch.isfinite(targets)
    targets = torch.nan_to_num(targets)
    errors = (outputs - targets).abs()
    parts = [
        errors[:, : coding.directions.start],
        _direction_errors(outputs[:, coding.directions], targets[:, coding.directions]),
        errors[:, coding.velocities] * coding.velocity_unit,
    ]
    return torch.where(known, torch.cat(parts, dim=1), 0.0)


def smoothed(errors: Tensor, below: float, coding: BoxCoding) -> Tensor:
    """Smooth-L1 of absolute errors (K, codes): e^2 / (2 below) up to `below`, e - below / 2 from there on.

    The direction's cross-entropy is smooth as it is.
    """
    rounded = torch.where(errors < below, errors.square() / (2.0 * below), errors - below / 2.0)
    directions = torch.zeros(errors.shape[1], dtype=torch.bool, device=errors.device)
    directions[coding.directions] = True
    return torch.where(directions, errors, rounded)


def as_targets(outputs: Tensor, coding: BoxCoding) -> Tensor:
    """Outputs (K, codes) of one network as targets of another: the direction as the mean that its logits stand for."""
    directions = coding.directions
    toward = torch.tanh(outputs[:, directions] / 2.0)
    return torch.cat([outputs[:, : directions.start], toward, outputs[:, directions.stop :]], dim=1)


def _direction_errors(logits: Tensor, targets: Tensor) -> Tensor:
    """Kullback-Leibler divergence (K, 2) of probabilities (1 + target) / 2 from those of the logits."""
    probability = (1.0 + targets) / 2.0
    own = torch.special.entr(probability) + torch.special.entr(1.0 - probability)
    return functional.binary_cross_entropy_with_logits(logits, probability, reduction="none") - own
