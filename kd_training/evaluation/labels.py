"""The nuScenes metric of a label encoder: true boxes, painted and found again by the teacher's frozen head."""

from pathlib import Path

import numpy as np
import torch

from kd_training.checkpoints.checkpoint import file_digest
from kd_training.checkpoints.models import load_label_encoder, load_teacher
from kd_training.data.frames import TrainingFrame
from kd_training.data.painted_boxes import paint_boxes
from kd_training.evaluation.teacher import TeacherDetector
from kd_training.models.teachers.centerpoint import CenterPoint
from kd_training.models.teachers.label_encoder import LabelEncoder


class LabelDetector(TeacherDetector):
    """A teacher that sees a keyframe's true boxes instead of its points; both models are put into evaluation mode."""

    def __init__(self, encoder: LabelEncoder, teacher: CenterPoint) -> None:
        super().__init__(teacher)
        self.encoder = encoder.eval()

    @torch.inference_mode()
    def outputs(self, frame: TrainingFrame) -> tuple[np.ndarray, np.ndarray]:
        """As TeacherDetector's."""
        outputs = self.model.from_levels(self.encoder(paint_boxes([frame.boxes], self.model.grid), 1))
        return torch.sigmoid(outputs.heatmap[0]).numpy(), outputs.regression[0].numpy()


def load_label_detector(weights: Path, teacher: Path) -> LabelDetector:
    """The detector of a label encoder's weights file and its teacher's; raises ConfigError if they do not fit."""
    model = load_teacher(teacher)
    return LabelDetector(load_label_encoder(weights, model, file_digest(teacher)), model)
