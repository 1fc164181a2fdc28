"""What a frozen camera student of higher resolution says of a student's batches (cross-scale distillation)."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import TrainingProcesses
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.data.batches import Batch
from kd_training.distill.distiller import Distilled
from kd_training.distill.fit import Side
from kd_training.distill.scale.cross_scale import CameraPair, CrossScale
from kd_training.distill.scale.fit import CameraSide
from kd_training.models.students.camera_student import CameraStudent
from kd_training.tasks.frozen_student import FrozenStudent
from kd_training.tasks.lesson import FrozenFile

KEY = "cross_scale.teacher"


class CameraLesson:
    """Of the teacher cross_scale.teacher: see TeacherLesson. Its batches have images for the teacher, too (`spec`).

    Raises ConfigError where teacher and student do not fit together.
    """

    def __init__(self, config: CrossScaleConfig, student: CameraStudent, name: str) -> None:
        """`name`: the student's."""
        self.teacher = FrozenStudent(config.teacher, KEY)
        self.spec = self.teacher.model.spec
        sides = camera_side(student, name), camera_side(self.teacher.model, self.spec.name)
        self.distiller = CrossScale(config, *sides)
        self.term_names = self.distiller.term_names

    @property
    def frozen(self) -> dict[str, FrozenFile]:
        """The teacher."""
        return {"camera": FrozenFile(f"{KEY} {self.teacher.given}", self.teacher.digest)}

    def teacher_outputs(self, batch: Batch) -> DetectorOutputs:
        """See TeacherLesson."""
        return self.teacher.outputs(batch.finer)

    def __call__(
        self, student: DetectorOutputs, batch: Batch, rigs: Tensor | None, processes: TrainingProcesses
    ) -> Distilled:
        """See TeacherLesson."""
        teacher, valid = self.teacher_outputs(batch), batch.inputs.cameras.camera_valid
        if rigs is not None:
            valid = valid_of_rigs(valid, [len(shown.cameras) for shown in batch.shown], rigs.tolist())
        return self.distiller(CameraPair(student, teacher, valid, rigs), batch.ground_truth, processes)


def valid_of_rigs(valid: Tensor, counts: Sequence[int], rigs: Collection[int]) -> Tensor:
    """camera_valid (N,) with 0 for the cameras of other rigs than `rigs`; `counts`: how many of each rig show
    something."""
    among = [float(number in rigs) for number, count in enumerate(counts) for _ in range(count)]
    kept = torch.zeros_like(valid)
    kept[valid > 0] = torch.tensor(among, dtype=valid.dtype, device=valid.device)
    return kept


def camera_side(model: CameraStudent, name: str) -> CameraSide:
    """A student as distillation sees it."""
    return CameraSide(bev_side(model, name), model.spec, model.neck, model.predicts_depth)


def bev_side(model: CameraStudent, name: str) -> Side:
    """Its BEV half alone."""
    return Side(name, model.spec.grid, model.spec.classes, model.feature_channels, model.head)
