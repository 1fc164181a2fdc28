"""BEVDet (arXiv:2112.11790): image backbone and neck, depth-weighted view transform, BEV encoder, CenterHead.

Differences from the paper: bins of range instead of z; `pull` as an alternative to its lift-splat; a neck of one map.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kd_perception.grid import BevGrid
from kd_perception.student import DepthBins, StudentSpec, ViewSpec
from kd_training.config import ModelConfig
from kd_training.models.backbones import build_backbone
from kd_training.models.bev_encoder import BevEncoder
from kd_training.models.center_head import CenterHead
from kd_training.models.necks import DepthContext, PyramidNeck
from kd_training.models.view import build_view, sum_terms


class BevDet(nn.Module):
    """The student. `forward` is what the student file computes; `train_forward` the same for a batch of rigs."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.spec = student_spec(config, self.backbone.mean, self.backbone.std)
        self.register_buffer("mean", torch.tensor(self.spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(self.spec.std), persistent=False)
        self.neck = PyramidNeck(self.backbone.channels, config.neck_channels, config.view.stride)
        self.depth_context = DepthContext(config.neck_channels, config.view.depth_bins, config.context_channels)
        self.view = build_view(self.spec.grid, self.spec.view)
        self.encoder = BevEncoder(config.context_channels, config.bev_channels, config.bev_blocks)
        self.head = CenterHead(config.bev_channels, config.head_shared, config.head_hidden)

    def lift(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """uint8 RGB images (N, H, W, 3) -> depth logits (N, D, h, w), context (N, C, h, w)."""
        normalised = (images.float() - self.mean) / self.std
        return self.depth_context(self.neck(self.backbone(normalised.permute(0, 3, 1, 2))))

    def forward(self, images: Tensor, camera_valid: Tensor, *tables: Tensor) -> tuple[Tensor, Tensor]:
        """One rig -> heatmap (10, rows, columns) probabilities, regression (groups, 10, rows, columns).

        images (N, H, W, 3) uint8, camera_valid (N,), tables in `view.table_names` order.
        """
        logits, context = self.lift(images)
        probability = torch.softmax(logits, dim=1) * camera_valid.reshape(-1, 1, 1, 1)
        heatmap, regression = self.head(self.encoder(self.view(probability, context, *tables)))
        return torch.sigmoid(heatmap[0]), regression[0]

    def train_forward(
        self, images: Tensor, camera_valid: Tensor, terms: Mapping[str, Tensor], rigs: int
    ) -> dict[str, Tensor]:
        """A batch of rigs -> depth_logits (N, D, h, w), heatmap logits and regression, each with a batch axis.

        images (N, H, W, 3) and camera_valid (N,) of all rigs behind each other; terms with their offsets added.
        """
        logits, context = self.lift(images)
        probability = torch.softmax(logits.float(), dim=1) * camera_valid.reshape(-1, 1, 1, 1)
        rows, columns = self.spec.grid.shape
        pixels = context.permute(0, 2, 3, 1).reshape(-1, context.shape[1])
        bev = sum_terms(probability.reshape(-1), pixels, terms, rigs * rows * columns)
        bev = bev.reshape(rigs, rows, columns, -1).permute(0, 3, 1, 2)  # channels_last in memory
        heatmap, regression = self.head(self.encoder(bev))
        return {"depth_logits": logits, "heatmap": heatmap, "regression": regression}


def student_spec(config: ModelConfig, mean: tuple[float, ...], std: tuple[float, ...]) -> StudentSpec:
    """The student file's contract that a model configuration means."""
    extent, view = config.grid.extent, config.view
    spec = StudentSpec(
        name=config.name,
        grid=BevGrid(-extent, extent, -extent, extent, config.grid.cell_size),
        image_size=(config.image_height, config.image_width),
        view=ViewSpec(
            kind=view.kind,
            stride=view.stride,
            depth=DepthBins(view.depth_start, view.depth_step, view.depth_bins, view.depth_focal),
            heights=tuple(view.heights),
            z_range=tuple(view.z_range),
        ),
        trained_cameras=config.cameras,
        mean=mean,
        std=std,
    )
    spec.check(f"model {config.name}")
    return spec
