"""Narrow students with random weights for tests."""

import torch

from kd_training.config.sections import GridConfig, ModelConfig, QueryAttentionConfig, TemporalConfig, ViewConfig
from kd_training.models.students import build_student
from kd_training.models.students.camera_student import CameraStudent

PULL, ATTENTION = ViewConfig(heights=[0.5]), ViewConfig(kind="attention", heights=[0.5, 1.5])
# camera_aware, temporal.frames and view
KINDS = {
    "bevdet": (False, 1, PULL),
    "bevdet4d": (False, 2, PULL),
    "bevdepth": (True, 1, PULL),
    "bevdepth4d": (True, 2, PULL),
    "bevformer": (False, 3, ATTENTION),
}
# As large as the shipped students', where a test counts cells or boxes.
SHIPPED_SIZES = {"image_height": 128, "image_width": 352, "grid": GridConfig()}
SMALL_SIZES = {"image_height": 64, "image_width": 192, "grid": GridConfig(extent=12.8, cell_size=0.8)}


def narrow_student(kind: str, **sizes: int | GridConfig) -> CameraStudent:
    """One of KINDS; as it begins. `sizes` are SMALL_SIZES unless given."""
    camera_aware, frames, view = KINDS[kind]
    torch.manual_seed(0)
    model = build_student(
        ModelConfig(
            name=kind, neck_channels=16, context_channels=8, bev_channels=16, bev_blocks=1, head_shared=16,
            head_hidden=16, camera_aware=camera_aware, depth_blocks=1, view=view,
            temporal=TemporalConfig(frames=frames),
            attention=QueryAttentionConfig(layers=1, heads=2, points=2, levels=2, query_stride=4),
            **{**SMALL_SIZES, **sizes},
        )
    )  # fmt: skip
    return model.eval()


def shake(model: CameraStudent) -> CameraStudent:
    """Weights as if trained: what begins at zero no longer is. ImageNet's stay."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if not name.startswith("backbone."):
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model
