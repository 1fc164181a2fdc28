"""What a student takes in training: the images, calibration and view terms of a batch of rigs, now and a moment ago."""

from typing import NamedTuple

import torch
from torch import Tensor

from kd_training.batches.moving import moved


class CameraInputs(NamedTuple):
    """N cameras, of all rigs behind each other: images (N, H, W, 3) uint8, camera_valid (N,), camera_params (N, K) of
    students that take them (kd_perception.student.camera_params), None for others."""

    images: Tensor
    camera_valid: Tensor
    camera_params: Tensor | None = None

    def to(self, device: torch.device) -> "CameraInputs":
        """The same on a device."""
        params = None if self.camera_params is None else moved(self.camera_params, device)
        return CameraInputs(moved(self.images, device), moved(self.camera_valid, device), params)


class PreviousFrames(NamedTuple):
    """The earlier frame of each of a batch's B rigs.

    cameras and terms as of the current frames, of the rigs that have one; warp (B, rows, columns, 2); valid (B,) 1 or
    0; interval (B,) seconds, positive also where there is no earlier frame. `previous`: what came before these, of
    students that are trained on longer sequences.
    """

    cameras: CameraInputs
    terms: dict[str, Tensor]
    warp: Tensor
    valid: Tensor
    interval: Tensor
    previous: "PreviousFrames | None" = None

    def to(self, device: torch.device) -> "PreviousFrames":
        """The same on a device."""
        tensors = (moved(part, device) for part in (self.warp, self.valid, self.interval))
        previous = None if self.previous is None else self.previous.to(device)
        return PreviousFrames(self.cameras.to(device), _terms_to(self.terms, device), *tensors, previous)


class StudentInputs(NamedTuple):
    """A batch of B = `rigs` rigs; `terms` of the view transform (kd_training.models.view) with the batch's offsets
    added; `previous` is there for students with a memory only."""

    rigs: int
    cameras: CameraInputs
    terms: dict[str, Tensor]
    previous: PreviousFrames | None = None

    def to(self, device: torch.device) -> "StudentInputs":
        """The same on a device."""
        previous = None if self.previous is None else self.previous.to(device)
        return StudentInputs(self.rigs, self.cameras.to(device), _terms_to(self.terms, device), previous)


def _terms_to(terms: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: moved(value, device) for name, value in terms.items()}
