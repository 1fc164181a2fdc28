"""The image half of a student, trained on LiDAR depth alone: no label is needed, and the BEV half is not computed.

What comes out is a start for students that learn from few labels, or whose labels a comparison withholds.
"""

from dataclasses import replace

from torch.utils.data import Dataset

from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch, StepBatches
from kd_training.losses.detection import depth_loss
from kd_training.models.students.bevdet import IMAGE_HALF
from kd_training.tasks.student import StudentTask
from kd_training.tasks.task import Losses, MicroStep


class DepthTask(StudentTask):
    """Images in, the depth loss out; all behind the depth network stays as it began."""

    learns_boxes = False

    def __init__(self, config: TrainConfig) -> None:
        super().__init__(config)
        for name, part in self.model.named_children():
            if name not in IMAGE_HALF:
                part.requires_grad_(requires_grad=False)

    def batches(self, plan: RunPlan) -> Dataset:
        """As a student's, without earlier frames: depth shows in the current one."""
        return StepBatches(replace(self.model.spec, memory=None), self.frames, self.config, plan, self.lidar)

    def forward(self, batch: Batch, now: MicroStep) -> Losses:
        """The scalar loss depth of a batch of B rigs and N cameras, shapes as in Batch."""
        logits = self.model.lift(batch.inputs.cameras).logits
        return Losses({"depth": self.config.loss.depth * depth_loss(logits, batch.depth, now.processes)})
