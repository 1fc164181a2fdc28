"""BEVDepth (arXiv:2206.10092): BEVDet whose depth network knows the camera, and whose depth LiDAR supervises.

The supervision is the loss `depth` (`losses.detection`), which every student can have; this file adds the network.
With the memory of BEVDet4D it is BEVDepth4D. Both start from the weights of the student that they extend.
"""

from torch import Tensor

from kd_training.batches.student_inputs import CameraInputs
from kd_training.config.sections import ModelConfig
from kd_training.models.camera_aware import CameraAwareDepth
from kd_training.models.students.bevdet import BevDet
from kd_training.models.students.bevdet4d import BevDet4d

CAMERA_AWARE = tuple(f"depth_context.{name}" for name in CameraAwareDepth.added_modules)


class BevDepth(BevDet):
    """The camera-aware student: takes camera_params (kd_perception.student.camera_params)."""

    added_modules = (CAMERA_AWARE, *BevDet.added_modules)

    def make_depth_context(self, config: ModelConfig) -> CameraAwareDepth:
        """See BevDet."""
        return CameraAwareDepth(
            config.neck_channels, self.spec.view.depth.count, config.context_channels, config.depth_blocks
        )

    def depth_and_context(self, features: Tensor, cameras: CameraInputs) -> tuple[Tensor, Tensor]:
        """See BevDet."""
        return self.depth_context(features, cameras.camera_params)


class BevDepth4d(BevDepth, BevDet4d):
    """The camera-aware student with memory."""

    added_modules = (CAMERA_AWARE, *BevDet4d.added_modules)
