"""BEVFormer (arXiv:2203.17270): BEV queries look at the cameras by deformable attention, and at their own past.

The BEV map that the encoder makes is what it remembers: the next frame's queries look at it, warped by ego motion. So
memory is recurrent, unlike BEVDet4D's. Difference from the paper: BEV encoder and CenterHead of the other students in
the place of its DETR decoder, so that students share grid, head, losses and terms; see also models.bev_queries.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.batches.detector_outputs import DetectorOutputs, ImagePyramid
from kd_training.batches.student_inputs import CameraInputs, PreviousFrames, StudentInputs
from kd_training.config.sections import ModelConfig
from kd_training.models.bev_queries import BevQueries, EarlierMap
from kd_training.models.center_head import PRE_HEAD
from kd_training.models.memory import MotionHead
from kd_training.models.necks import LevelsNeck
from kd_training.models.students.camera_student import CameraStudent


class BevFormer(CameraStudent):
    """The student of BEV queries. Training computes the earlier frames without gradient, one after the other."""

    predicts_depth = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        view, attention = self.spec.view, config.attention
        self.neck = LevelsNeck(self.backbone.channels, config.neck_channels, view.stride, attention.levels)
        shape = self.spec.memory_grid.shape
        self.view = BevQueries(shape, len(view.heights), config.context_channels, config.neck_channels, attention)
        self.make_bev_half(config)
        self.motion = MotionHead(config.bev_channels, config.head_hidden)

    def shared_layers(self) -> list[nn.Parameter]:
        """The last linear layer of the queries' encoder, see CameraStudent."""
        return list(self.view.layers[-1].forward_part[-1].parameters())

    def image_network(self, cameras: CameraInputs) -> tuple[Tensor, ...]:
        """N cameras -> maps (N, channels, rows, columns), finest first."""
        maps, _ = self.neck(self.image_levels(cameras.images))
        return maps

    def bev_map(
        self, lifted: Sequence[Tensor], cameras: CameraInputs, tables: Sequence[Tensor], memory: Sequence[Tensor]
    ) -> Tensor:
        """What `image_network` gives, and the memory -> BEV map (1, context, rows, columns) of the queries."""
        feature, warp, valid, interval = memory
        earlier = EarlierMap(feature.unsqueeze(0), warp.unsqueeze(0), valid, interval)
        return self.view(lifted, cameras.camera_valid, tables, earlier)

    def bev_network(self, bev: Tensor, *memory: Tensor) -> tuple[Tensor, ...]:
        """BEV map of the queries and MEMORY_INPUTS -> the file's outputs; the map is the one to remember."""
        valid, interval = memory[2:]
        heatmap, regression, _ = self._detect(bev, valid, interval)
        return torch.sigmoid(heatmap[0]), regression[0], bev[0]

    def train_forward(self, inputs: StudentInputs) -> DetectorOutputs:
        """A batch of rigs -> predictions and features; ValueError without the rigs' earlier frames, valid or not."""
        previous = inputs.previous
        if previous is None:
            raise ValueError("a temporal student trains with the previous frames of its rigs, valid or not")
        with torch.no_grad():
            memory = self._remember(previous, inputs.rigs)
        bev, pyramid = self._batch_map(inputs.cameras, inputs.terms, memory)
        return DetectorOutputs(*self._detect(bev, memory.valid, memory.interval), pyramid=pyramid)

    def _remember(self, previous: PreviousFrames, rigs: int) -> EarlierMap:
        """The rigs' earlier frames, from the oldest on; features are 0 for a rig without one."""
        moment = (previous.warp, previous.valid, previous.interval)
        nothing = torch.zeros(rigs, *self.spec.memory_shape, device=previous.warp.device)
        if not len(previous.cameras.images):
            return EarlierMap(nothing, *moment)
        if previous.previous is None:
            before = EarlierMap(nothing, previous.warp, torch.zeros_like(previous.valid), previous.interval)
        else:
            before = self._remember(previous.previous, rigs)
        feature, _ = self._batch_map(previous.cameras, previous.terms, before)
        return EarlierMap(feature.float(), *moment)

    def _batch_map(
        self, cameras: CameraInputs, terms: dict[str, Tensor], memory: EarlierMap
    ) -> tuple[Tensor, ImagePyramid]:
        """The map of the queries (B, context, rows, columns), and the image pyramid that they look at."""
        maps, pyramid = self.neck(self.image_levels(cameras.images))
        return self.view.batched(maps, cameras.camera_valid, terms, memory), pyramid

    def _detect(self, bev: Tensor, valid: Tensor, interval: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Heatmap logits and regression, each with a batch axis, and features."""
        if self.view.stride > 1:
            bev = functional.interpolate(bev, scale_factor=float(self.view.stride), mode="bilinear")
        features = self.encoder.refine(self.encoder.enter(bev))
        heatmap, regression = self.head.predict(features)
        static, velocity = regression.split([self.spec.coding.velocities.start, 2], dim=2)
        velocity = velocity + self.motion(features[PRE_HEAD], valid, interval)
        return heatmap, torch.cat([static, velocity], dim=2), features
