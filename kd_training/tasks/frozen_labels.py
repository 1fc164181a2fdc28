"""Label features of a student's batches, from a frozen label encoder (LabelDistill, arXiv:2407.10164)."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from kd_perception.errors import ConfigError
from kd_training.checkpoints.checkpoint import file_digest
from kd_training.checkpoints.models import load_label_encoder
from kd_training.data.ground_truth import GroundTruth
from kd_training.data.painted_boxes import paint_boxes
from kd_training.tasks.frozen_teacher import FrozenTeacher


class FrozenLabels:
    """A label encoder of a weights file in evaluation mode, without gradients; no nn.Module, as FrozenTeacher.

    Raises ConfigError if there is no file, or if the encoder was trained through another teacher.
    """

    def __init__(self, weights: Path, teacher: FrozenTeacher) -> None:
        if not weights.is_file():
            raise ConfigError(
                f"distill.labels.encoder is {str(weights)!r}, which is no file; train the encoder first (kd train "
                "config/labels/...), or set distill.labels.weight=0"
            )
        self.encoder = load_label_encoder(weights, teacher.model, teacher.digest).requires_grad_(requires_grad=False)
        self.grid, self.digest = teacher.model.grid, file_digest(weights)

    def features(self, truth: GroundTruth) -> Mapping[str, Tensor]:
        """Features of the true boxes of B rigs, on the device of the truth, by the names of the teacher's levels."""
        device = truth.heatmap.device
        self.encoder.to(device)
        with torch.no_grad():
            levels = self.encoder(paint_boxes(truth.boxes, self.grid).to(device), len(truth.boxes))
        return dict(zip(self.encoder.level_names, levels, strict=True))
