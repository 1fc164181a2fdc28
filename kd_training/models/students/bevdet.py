"""BEVDet (arXiv:2112.11790): image backbone and neck, depth-weighted view transform, BEV encoder, CenterHead.

Differences from the paper: bins of range instead of z; `pull` as an alternative to its lift-splat; a neck of one map.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kd_training.batches.detector_outputs import DetectorOutputs, ImagePyramid
from kd_training.batches.student_inputs import CameraInputs, StudentInputs
from kd_training.config.sections import ModelConfig
from kd_training.models.necks import DepthContext, PyramidNeck
from kd_training.models.students.camera_student import CameraStudent
from kd_training.models.view import build_view, sum_terms

IMAGE_HALF = ("backbone", "neck", "depth_context")  # the parts before the view transform


class LiftedImages(NamedTuple):
    """Of N cameras: depth logits (N, D, h, w), context (N, C, h, w), and the image pyramid behind both."""

    logits: Tensor
    context: Tensor
    pyramid: ImagePyramid


class BevDet(CameraStudent):
    """The student of single frames."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.neck = PyramidNeck(self.backbone.channels, config.neck_channels, self.spec.view.stride)
        self.depth_context = self.make_depth_context(config)
        self.view = build_view(self.spec.grid, self.spec.view)
        self.make_bev_half(config)

    def make_depth_context(self, config: ModelConfig) -> nn.Module:
        """The network behind the neck, which `depth_and_context` calls."""
        return DepthContext(config.neck_channels, self.spec.view.depth.count, config.context_channels)

    def shared_layers(self) -> list[nn.Parameter]:
        """The last convolution before the view transform, see CameraStudent."""
        return list(self.depth_context.output.parameters())

    def lift(self, cameras: CameraInputs) -> LiftedImages:
        """N cameras -> what their images show."""
        features, pyramid = self.neck(self.image_levels(cameras.images))
        return LiftedImages(*self.depth_and_context(features, cameras), pyramid)

    def depth_and_context(self, features: Tensor, cameras: CameraInputs) -> tuple[Tensor, Tensor]:
        """The neck's map (N, channels, h, w) -> depth logits (N, D, h, w), context (N, C, h, w)."""
        return self.depth_context(features)

    def image_network(self, cameras: CameraInputs) -> tuple[Tensor, Tensor]:
        """N cameras -> depth probabilities (N, D, h, w), 0 of a missing camera; context (N, C, h, w)."""
        lifted = self.lift(cameras)
        return torch.softmax(lifted.logits, dim=1) * cameras.camera_valid.reshape(-1, 1, 1, 1), lifted.context

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
        lifted, bev = self.batch_bev(inputs.cameras, inputs.terms, inputs.rigs)
        features = self.encoder.refine(self.encoder.enter(bev))
        return DetectorOutputs(*self.head.predict(features), features, lifted.logits, lifted.pyramid)

    def batch_bev(self, cameras: CameraInputs, terms: Mapping[str, Tensor], rigs: int) -> tuple[LiftedImages, Tensor]:
        """What the images show, and the view transform of a batch (rigs, context, rows, columns)."""
        lifted = self.lift(cameras)
        probability = torch.softmax(lifted.logits.float(), dim=1) * cameras.camera_valid.reshape(-1, 1, 1, 1)
        rows, columns = self.spec.grid.shape
        pixels = lifted.context.permute(0, 2, 3, 1).reshape(-1, lifted.context.shape[1])
        bev = sum_terms(probability.reshape(-1), pixels, terms, rigs * rows * columns)
        return lifted, bev.reshape(rigs, rows, columns, -1).permute(0, 3, 1, 2)  # channels_last in memory
