"""What every student has: an image network per camera, a view transform, and a BEV half that ends in CenterHead.

A student says how images become features, how these become a BEV map, and what it does in training. What the student
file computes and takes follows from that.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

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


class CameraStudent(nn.Module, ABC):
    """A student. `forward` is what the student file computes, `train_forward` the same for a batch of rigs.

    Its module `view` has `table_names`, the inputs that `student.view_tables` makes; its `neck` is a TopDown.
    added_modules: groups of modules, by prefix, that add nothing at first. Weights of a student without them may lack
    such a group as a whole. predicts_depth: whether outputs in training have depth_logits.
    """

    added_modules: tuple[tuple[str, ...], ...] = ()
    predicts_depth = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.backbone = build_backbone(config.backbone)
        self.spec = student_spec(config, self.backbone.mean, self.backbone.std)
        self.register_buffer("mean", torch.tensor(self.spec.mean), persistent=False)
        self.register_buffer("std", torch.tensor(self.spec.std), persistent=False)

    def make_bev_half(self, config: ModelConfig) -> None:
        """Add what follows the view transform."""
        self.encoder = BevEncoder(config.context_channels, config.bev_channels, config.bev_blocks)
        classes, coding = self.spec.classes, self.spec.coding
        self.head = CenterHead(config.bev_channels, config.head_shared, config.head_hidden, classes, coding)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the student file's inputs, in the order of `forward`."""
        memory = () if self.spec.memory is None else MEMORY_INPUTS
        return (*self.spec.camera_shapes(1), *self.view.table_names, *memory)

    @property
    def feature_channels(self) -> dict[str, int]:
        """Channels of the BEV features that `train_forward` names."""
        return {**self.encoder.level_channels, SHARED: self.head.shared_channels}

    @abstractmethod
    def shared_layers(self) -> list[nn.Parameter]:
        """Parameters of one layer that every loss on BEV features or predictions reaches.

        Gradient blending compares gradients there.
        """

    def image_layers(self) -> list[nn.Parameter]:
        """Parameters of one layer that every loss on the image pyramid, too, reaches: the coarsest level enters all."""
        return list(self.neck.lateral[-1].parameters())

    def image_levels(self, images: Tensor) -> list[Tensor]:
        """uint8 RGB images (N, H, W, 3) -> the backbone's levels (N, channels, rows, columns), finest first."""
        normalised = (images.float() - self.mean) / self.std
        return self.backbone(normalised.permute(0, 3, 1, 2))

    @abstractmethod
    def image_network(self, cameras: CameraInputs) -> tuple[Tensor, ...]:
        """The file's first part: what the view transform takes of N cameras, each (N, channels, rows, columns)."""

    @abstractmethod
    def bev_map(
        self, lifted: Sequence[Tensor], cameras: CameraInputs, tables: Sequence[Tensor], memory: Sequence[Tensor]
    ) -> Tensor:
        """The file's second part: features of N cameras, all of one rig -> BEV map (1, context, rows, columns)."""

    @abstractmethod
    def bev_network(self, bev: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """The file's last part: the BEV map and MEMORY_INPUTS -> the outputs, as kd_perception.student.spec says."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """One rig, `inputs` as `input_names` -> the file's outputs, as kd_perception.student.spec says."""
        cameras, tables, memory = self.split_inputs(inputs)
        return self.bev_network(self.bev_map(self.image_network(cameras), cameras, tables, memory), *memory)

    def split_inputs(self, inputs: Sequence[Tensor]) -> tuple[CameraInputs, Sequence[Tensor], Sequence[Tensor]]:
        """The file's inputs as cameras, the view transform's tables, and MEMORY_INPUTS of a student with memory."""
        tables = len(self.spec.camera_shapes(1))
        memory = tables + len(self.view.table_names)
        return CameraInputs(*inputs[:tables]), inputs[tables:memory], inputs[memory:]

    @abstractmethod
    def train_forward(self, inputs: StudentInputs) -> DetectorOutputs:
        """A batch of rigs -> predictions and features; shapes in DetectorOutputs."""
