"""BEVDet4D (arXiv:2203.17054): BEVDet that remembers the BEV features of an earlier frame.

The earlier features are warped by ego motion onto the current grid and fused before the BEV encoder's residual part.
Differences from the paper: the memory holds the features behind the encoder's first block, so that nothing is computed
twice. The fusion adds to the current features. The interval may be any in a range, see MotionHead.
"""

import torch
from torch import Tensor

from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.student_inputs import PreviousFrames, StudentInputs
from kd_training.config.sections import ModelConfig
from kd_training.models.center_head import PRE_HEAD
from kd_training.models.memory import MemoryFusion, MotionHead
from kd_training.models.students.bevdet import BevDet


class BevDet4d(BevDet):
    """The temporal student. Training computes the earlier frame without gradient: on the robot it is a memory."""

    added_modules = (("fusion", "motion"),)  # what a single-frame student lacks

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.fusion = MemoryFusion(config.bev_channels)
        self.motion = MotionHead(config.bev_channels, config.head_hidden)

    def bev_network(
        self, bev: Tensor, memory: Tensor, warp: Tensor, valid: Tensor, interval: Tensor
    ) -> tuple[Tensor, ...]:
        """As BevDet, with kd_perception.student.spec.MEMORY_INPUTS, and one output more, `bev_feature`."""
        feature = self.encoder.enter(bev)
        heatmap, regression, _ = self._detect(feature, memory.unsqueeze(0), warp.unsqueeze(0), valid, interval)
        return torch.sigmoid(heatmap[0]), regression[0], feature[0]

    def train_forward(self, inputs: StudentInputs) -> DetectorOutputs:
        """As BevDet; ValueError without the rigs' earlier frames, valid or not."""
        previous = inputs.previous
        if previous is None:
            raise ValueError("a temporal student trains with the previous frames of its rigs, valid or not")
        with torch.no_grad():
            memory = self._remember(previous, inputs.rigs)
        lifted, bev = self.batch_bev(inputs.cameras, inputs.terms, inputs.rigs)
        predictions = self._detect(self.encoder.enter(bev), memory, previous.warp, previous.valid, previous.interval)
        return DetectorOutputs(*predictions, lifted.logits, lifted.pyramid)

    def _remember(self, previous: PreviousFrames, rigs: int) -> Tensor:
        """Features (rigs, channels, rows, columns) of the earlier frames, 0 for a rig without one."""
        if not len(previous.cameras.images):
            channels = self.feature_channels["enter"]
            return torch.zeros(rigs, channels, *self.spec.grid.shape, device=previous.warp.device)
        _, bev = self.batch_bev(previous.cameras, previous.terms, rigs)
        return self.encoder.enter(bev).float()

    def _detect(
        self, feature: Tensor, memory: Tensor, warp: Tensor, valid: Tensor, interval: Tensor
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Heatmap logits and regression, each with a batch axis, and features."""
        features = self.encoder.refine(feature + self.fusion(feature, memory, warp, valid, interval))
        heatmap, regression = self.head.predict(features)
        static, velocity = regression.split([self.spec.coding.velocities.start, 2], dim=2)
        velocity = velocity + self.motion(features[PRE_HEAD], valid, interval)
        return heatmap, torch.cat([static, velocity], dim=2), features
