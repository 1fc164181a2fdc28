"""BEVDet (arXiv:2112.11790): image backbone and neck, depth-weighted view transform, BEV encoder, CenterHead.

Differences from the paper: bins of range instead of z; `pull` as an alternative to its lift-splat; a neck of one map.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kd_perception.student.spec import MEMORY_INPUTS
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.student_inputs import CameraInputs, StudentInputs
from kd_training.config.sections import ModelConfig
from kd_training.config.student_spec import student_spec
from kd_training.models.backbones import build_backbone
from kd_training.models.bev_encoder import BevEncoder
from kd_training.models.center_head import SHARED, CenterHead
from kd_training.models.necks import DepthContext, PyramidNeck
from kd_training.models.view import build_view, sum_terms

IMAGE_HALF = ("backbone", "neck", "depth_context")  # the parts before the view transform


class BevDet(nn.Module):
    """The student. `forward` is what the student file computes, `train_forward` the same for a batch of rigs.

    added_modules: groups of modules, by prefix, that add nothing at first. Weights of a student without them may lack
    such a group as a whole.
    """

    added_modules: tuple[tuple[str, ...], ...] = ()

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.spec = student_spec(config, self.backbone.mean, self.backbone.std)
        self.register_buffer("mean", torch.tensor(self.spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(self.spec.std), persistent=False)
        self.neck = PyramidNeck(self.backbone.channels, config.neck_channels, self.spec.view.stride)
        self.depth_context = self.make_depth_context(config)
        self.view = build_view(self.spec.grid, self.spec.view)
        self.encoder = BevEncoder(config.context_channels, config.bev_channels, config.bev_blocks)
        classes, coding = self.spec.classes, self.spec.coding
        self.head = CenterHead(config.bev_channels, config.head_shared, config.head_hidden, classes, coding)

    def make_depth_context(self, config: ModelConfig) -> nn.Module:
        """The network behind the neck, which `lift` calls."""
        return DepthContext(config.neck_channels, self.spec.view.depth.count, config.context_channels)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the student file's inputs, in the order of `forward`."""
        memory = () if self.spec.memory is None else MEMORY_INPUTS
        return (*self.spec.camera_shapes(1), *self.view.table_names, *memory)

    @property
    def feature_channels(self) -> dict[str, int]:
        """Channels of the BEV features that `train_forward` names."""
        return {**self.encoder.level_channels, SHARED: self.head.shared_channels}

    def shared_layers(self) -> list[nn.Parameter]:
        """The last convolution before the view transform: every loss on BEV features or predictions reaches it.

        Gradient blending compares gradients there.
        """
        return list(self.depth_context.output.parameters())

    def lift(self, cameras: CameraInputs) -> tuple[Tensor, Tensor]:
        """Depth logits (N, D, h, w), context (N, C, h, w)."""
        return self.depth_context(self.image_features(cameras.images))

    def image_features(self, images: Tensor) -> Tensor:
        """uint8 RGB images (N, H, W, 3) -> the neck's map (N, channels, h, w)."""
        normalised = (images.float() - self.mean) / self.std
        return self.neck(self.backbone(normalised.permute(0, 3, 1, 2)))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One rig, `inputs` as `input_names` -> the file's outputs, as kd_perception.student.spec says."""
        cameras, tables, memory = self.split_inputs(inputs)
        logits, context = self.lift(cameras)
        probability = torch.softmax(logits, dim=1) * cameras.camera_valid.reshape(-1, 1, 1, 1)
        return self.bev_network(self.view(probability, context, *tables), *memory)

    def split_inputs(self, inputs: Sequence[Tensor]) -> tuple[CameraInputs, Sequence[Tensor], Sequence[Tensor]]:
        """The file's inputs as cameras, the view transform's tables, and MEMORY_INPUTS of a student with memory."""
        tables = len(self.spec.camera_shapes(1))
        memory = tables + len(self.view.table_names)
        return CameraInputs(*inputs[:tables]), inputs[tables:memory], inputs[memory:]

    def bev_network(self, bev: Tensor) -> tuple[Tensor, ...]:
        """The file's last part: the view transform's map (1, context, rows, columns) -> the file's outputs."""
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
