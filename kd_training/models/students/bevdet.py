"""BEVDet (arXiv:2112.11790): image backbone and neck, depth-weighted view transform, BEV encoder, CenterHead.

Differences from the paper: bins of range instead of z; `pull` as an alternative to its lift-splat; a neck of one map.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.student_inputs import CameraInputs, StudentInputs
from kd_training.config.sections import ModelConfig
from kd_training.models.necks import DepthContext, PyramidNeck
from kd_training.models.students.camera_student import CameraStudent
from kd_training.models.view import build_view, sum_terms

IMAGE_HALF = ("backbone", "neck", "depth_context")  # the parts before the view transform


class BevDet(CameraStudent):
    """The student of single frames."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.neck = PyramidNeck(self.backbone.channels, config.neck_channels, self.spec.view.stride)
        self.depth_context = self.make_depth_context(config)
        self.view = build_view(self.spec.grid, self.spec.view)
        self.make_bev_half(config)

    def make_depth_context(self, config: ModelConfig) -> nn.Module:
        """The network behind the neck, which `lift` calls."""
        return DepthContext(config.neck_channels, self.spec.view.depth.count, config.context_channels)

    def shared_layers(self) -> list[nn.Parameter]:
        """The last convolution before the view transform, see CameraStudent."""
        return list(self.depth_context.output.parameters())

    def lift(self, cameras: CameraInputs) -> tuple[Tensor, Tensor]:
        """Depth logits (N, D, h, w), context (N, C, h, w)."""
        return self.depth_context(self.image_features(cameras.images))

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 RGB images (N, H, W, 3) -> the neck's map (N, channels, h, w)."""
        return self.neck(self.image_levels(images))

    def image_network(self, cameras: CameraInputs) -> tuple[Tensor, Tensor]:
        """N cameras -> depth probabilities (N, D, h, w), 0 of a missing camera; context (N, C, h, w)."""
        logits, context = self.lift(cameras)
        return torch.softmax(logits, dim=1) * cameras.camera_valid.reshape(-1, 1, 1, 1), context

    def bev_map(
        self, lifted: Sequence[Tensor], cameras: CameraInputs, tables: Sequence[Tensor], memory: Sequence[Tensor]
    ) -> Tensor:
        """What `image_network` gives -> BEV map (1, context, rows, columns)."""
        return self.view(*lifted, *tables)

    def bev_network(self, bev: Tensor) -> tuple[Tensor, ...]:
        """BEV map (1, context, rows, columns) -> the file's outputs."""
        heatmap, regression = self.head(self.encoder(bev))
        return torch.sigmoid(heatmap[0]), regression[0]

    def train_forward(self, inputs: StudentInputs) -> DetectorOutputs:
        """A batch of rigs -> predictions and features; shapes in DetectorOutputs."""
        logits, bev = self.batch_bev(inputs.cameras, inputs.terms, inputs.rigs)
        features = self.encoder.refine(self.encoder.enter(bev))
        return DetectorOutputs(*self.head.predict(features), features, logits)

    def batch_bev(self, cameras: CameraInputs, terms: Mapping[str, Tensor], rigs: int) -> tuple[Tensor, Tensor]:
        """Depth logits (N, D, h, w) and the view transform of a batch (rigs, context, rows, columns)."""
        logits, context = self.lift(cameras)
        probability = torch.softmax(logits.float(), dim=1) * cameras.camera_valid.reshape(-1, 1, 1, 1)
        rows, columns = self.spec.grid.shape
        pixels = context.permute(0, 2, 3, 1).reshape(-1, context.shape[1])
        bev = sum_terms(probability.reshape(-1), pixels, terms, rigs * rows * columns)
        return logits, bev.reshape(rigs, rows, columns, -1).permute(0, 3, 1, 2)  # channels_last in memory
