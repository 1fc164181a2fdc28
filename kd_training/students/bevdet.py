"""BEVDet (arXiv:2112.11790): image backbone and neck, depth-weighted view transform, BEV encoder, CenterHead.

Differences from the paper: bins of range instead of z; `pull` as an alternative to its lift-splat; a neck of one map.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kd_perception.grid import BevGrid
from kd_perception.student import DepthBins, MemorySpec, StudentSpec, ViewSpec
from kd_training.config import ModelConfig
from kd_training.models.backbones import build_backbone
from kd_training.models.bev_encoder import BevEncoder
from kd_training.models.center_head import CenterHead
from kd_training.models.memory import PreviousFrames
from kd_training.models.necks import DepthContext, PyramidNeck
from kd_training.models.outputs import DetectorOutputs
from kd_training.models.view import build_view, sum_terms


class BevDet(nn.Module):
    """The student. `forward` is what the student file computes; `train_forward` the same for a batch of rigs."""

    memory_modules: tuple[str, ...] = ()  # modules that start as nothing, so that weights may lack all of them

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

    def forward(self, images: Tensor, camera_valid: Tensor, *tables: Tensor) -> tuple[Tensor, ...]:
        """One rig -> heatmap (10, rows, columns) probabilities, regression (groups, 10, rows, columns).

        images (N, H, W, 3) uint8, camera_valid (N,), tables in `view.table_names` order.
        """
        return self.bev_network(self.single_bev(images, camera_valid, *tables))

    def bev_network(self, bev: Tensor) -> tuple[Tensor, ...]:
        """The file's last part: what the view transform gives (1, context, rows, columns) -> the file's outputs."""
        heatmap, regression = self.head(self.encoder(bev))
        return torch.sigmoid(heatmap[0]), regression[0]

    def single_bev(self, images: Tensor, camera_valid: Tensor, *tables: Tensor) -> Tensor:
        """One rig's view transform in the file's form -> (1, context, rows, columns)."""
        logits, context = self.lift(images)
        probability = torch.softmax(logits, dim=1) * camera_valid.reshape(-1, 1, 1, 1)
        return self.view(probability, context, *tables)

    def train_forward(
        self,
        images: Tensor,
        camera_valid: Tensor,
        terms: Mapping[str, Tensor],
        rigs: int,
        previous: PreviousFrames | None = None,
    ) -> DetectorOutputs:
        """A batch of rigs -> answers and features.

        images (N, H, W, 3) and camera_valid (N,) of all rigs behind each other; terms with their offsets added;
        `previous` is for students with a memory.
        """
        logits, bev = self.batch_bev(images, camera_valid, terms, rigs)
        features = self.encoder.refine(self.encoder.enter(bev))
        return DetectorOutputs(*self.head(features["pre_head"]), features, logits)

    def batch_bev(
        self, images: Tensor, camera_valid: Tensor, terms: Mapping[str, Tensor], rigs: int
    ) -> tuple[Tensor, Tensor]:
        """Depth logits (N, D, h, w) and the view transform of a batch (rigs, context, rows, columns)."""
        logits, context = self.lift(images)
        probability = torch.softmax(logits.float(), dim=1) * camera_valid.reshape(-1, 1, 1, 1)
        rows, columns = self.spec.grid.shape
        pixels = context.permute(0, 2, 3, 1).reshape(-1, context.shape[1])
        bev = sum_terms(probability.reshape(-1), pixels, terms, rigs * rows * columns)
        return logits, bev.reshape(rigs, rows, columns, -1).permute(0, 3, 1, 2)  # channels_last in memory


def student_spec(config: ModelConfig, mean: tuple[float, ...], std: tuple[float, ...]) -> StudentSpec:
    """The student file's contract that a model configuration means."""
    extent, view, temporal = config.grid.extent, config.view, config.temporal
    memory = MemorySpec(config.bev_channels, temporal.interval, temporal.shortest, temporal.longest)
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
        temporal_frames=temporal.frames,
        memory=memory if temporal.frames > 1 else None,
    )
    spec.check(f"model {config.name}")
    return spec
