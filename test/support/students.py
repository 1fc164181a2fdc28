"""Narrow students with random weights for tests."""

import torch

from kd_training.config.sections import ModelConfig, TemporalConfig, ViewConfig
from kd_training.models.students import build_student
from kd_training.models.students.bevdet import BevDet

KINDS = {"bevdet": (False, 1), "bevdet4d": (False, 2), "bevdepth": (True, 1), "bevdepth4d": (True, 2)}


def narrow_student(kind: str) -> BevDet:
    """One of KINDS, which say camera_aware and temporal.frames; as it begins."""
    camera_aware, frames = KINDS[kind]
    torch.manual_seed(0)
    model = build_student(
        ModelConfig(
            name=kind, neck_channels=16, context_channels=8, bev_channels=16, bev_blocks=1, head_shared=16,
            head_hidden=16, camera_aware=camera_aware, depth_blocks=1, view=ViewConfig(heights=[0.5]),
            temporal=TemporalConfig(frames=frames),
        )
    )  # fmt: skip
    return model.eval()


def shake(model: BevDet) -> BevDet:
    """Weights as if trained: what begins at zero no longer is. ImageNet's stay."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone."):
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model
