"""What a frozen LiDAR teacher says of a student's batches (DistillBEV, arXiv:2309.15109)."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import TrainingProcesses
from kd_training.config.experiment import TrainConfig
from kd_training.data.batches import Batch
from kd_training.data.first_look import check_first_clouds
from kd_training.data.frame_checks import check_clouds
from kd_training.data.frames import TrainingFrame
from kd_training.data.lidar_source import LidarSource
from kd_training.distill.distiller import Distilled, Distiller
from kd_training.distill.fit import Side
from kd_training.tasks.frozen_labels import FrozenLabels
from kd_training.tasks.frozen_teacher import FrozenTeacher, KeptOutputs, check_repeatable
from kd_training.tasks.lesson import FrozenFile


class LidarLesson:
    """Of the teacher distill.teacher, and of the label encoder that belongs to it, if there is one: see TeacherLesson.

    Raises ConfigError or DataError where teacher, student and keyframes do not fit together.
    """

    def __init__(self, config: TrainConfig, student: Side, frames: Sequence[TrainingFrame]) -> None:
        check_clouds(frames)
        check_first_clouds(frames)
        distill = self.config = config.distill
        self.teacher = FrozenTeacher(Path(distill.teacher))
        teacher, encoder = self.teacher.model, distill.labels.encoder
        self.labels = FrozenLabels(Path(encoder), self.teacher) if distill.labels.weight > 0 else None
        self.lidar = LidarSource(config.data.cloud_cache_bytes, teacher.config)
        named = teacher.config.name, teacher.grid, teacher.classes
        side = Side(*named, teacher.feature_channels, teacher.head, teacher.layer_heights)
        self.distiller = Distiller(distill, student, side, self.labels)
        self.term_names = self.distiller.term_names
        self.kept = None
        if distill.cache_bytes:
            check_repeatable(config.data.augment)
            layers = self.distiller.teacher_layers
            self.kept = KeptOutputs(self.teacher, layers, frames, self.lidar, distill.cache_bytes)

    @property
    def frozen(self) -> dict[str, FrozenFile]:
        """Teacher and label encoder."""
        encoder = "" if self.labels is None else self.labels.digest
        return {
            "teacher": FrozenFile(f"distill.teacher {self.config.teacher}", self.teacher.digest),
            "labels": FrozenFile(f"distill.labels.encoder {self.config.labels.encoder}", encoder),
        }

    def teacher_outputs(self, batch: Batch, rigs: Tensor | None = None) -> DetectorOutputs:
        """What the teacher finds in a batch, or in some of its rigs (R,) int64, rising, without gradient; kept outputs
        where distill.cache_bytes says so."""
        shown = batch.shown if rigs is None else [batch.shown[number] for number in rigs.tolist()]
        if self.kept is not None:
            return self.kept.outputs(shown, batch.depth.device)
        return self.teacher.outputs(batch.points if rigs is None else batch.points.of_rigs(rigs), len(shown))

    def __call__(
        self, student: DetectorOutputs, batch: Batch, rigs: Tensor | None, processes: TrainingProcesses
    ) -> Distilled:
        """See TeacherLesson."""
        truth, cameras = batch.ground_truth, [shown.cameras for shown in batch.shown]
        if rigs is not None:
            student, truth = student.of_rigs(rigs), truth.of_rigs(rigs)
            cameras = [cameras[number] for number in rigs.tolist()]
        return self.distiller(student, self.teacher_outputs(batch, rigs), truth, processes, cameras=cameras)
