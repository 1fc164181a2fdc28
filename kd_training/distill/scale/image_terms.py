"""What a camera teacher of higher resolution says of the images: pyramid levels, and depth at matched pixels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_training.batches.detector_outputs import ImagePyramid
from kd_training.batches.processes import TrainingProcesses
from kd_training.distill.adapters import LinearAdapter
from kd_training.distill.scale.levels import LevelMatch, sampled
from kd_training.models.necks import TopDown, add_coarser


class PyramidLevel(nn.Module):
    """L = sum |F_T - G(F_S)| / sum |F_T| over the cameras that show something: 1 says that nothing is imitated.

    G starts as the identity where both have the same channels, as one network at two resolutions has.
    """

    def __init__(self, match: LevelMatch, student: TopDown, teacher: TopDown) -> None:
        super().__init__()
        self.match = match
        self.adapter = LinearAdapter(student.channels, teacher.channels)
        self.finer = None
        if match.student not in student.strides:
            self.finer = nn.Conv2d(student.below_channels, student.channels, 1)
        if student.channels == teacher.channels:
            nn.init.dirac_(self.adapter.convolution.weight)
            nn.init.zeros_(self.adapter.convolution.bias)

    def forward(
        self, student: ImagePyramid, teacher: ImagePyramid, valid: Tensor, processes: TrainingProcesses
    ) -> Tensor:
        """Pyramids of N cameras, the teacher's without gradient, and camera_valid (N,) -> the loss, a scalar."""
        target = teacher.maps[self.match.teacher].float()
        shape = tuple(target.shape[2:])
        imitated = self.adapter(sampled(self._own(student), shape, self.match.step), shape).float()
        seen = valid.reshape(-1, 1, 1, 1)
        size = processes.mean((target.abs() * seen).sum())
        return ((target - imitated).abs() * seen).sum() / torch.where(size > 0, size, 1.0)

    def _own(self, student: ImagePyramid) -> Tensor:
        """The student's map; a level finer than its neck's is made here, and never ships."""
        if self.finer is None:
            return student.maps[self.match.student]
        return add_coarser(self.finer(student.below), student.maps[2 * self.match.student])


def depth_divergence(
    student: Tensor, teacher: Tensor, valid: Tensor, step: float, processes: TrainingProcesses
) -> Tensor:
    """Mean of KL(teacher || student) over the pixels of cameras that show something.

    Logits of N cameras (N, D, h, w) and (N, D, h', w'), camera_valid (N,). The teacher's probabilities are taken
    `step` of its pixels apart: where the student's pixels are.
    """
    student, teacher = student.float(), teacher.float()
    target = sampled(torch.softmax(teacher, dim=1), tuple(student.shape[2:]), step)
    apart = functional.kl_div(torch.log_softmax(student, dim=1), target, reduction="none").sum(dim=1)
    pixels = valid.sum() * apart[0].numel()
    return (apart * valid.reshape(-1, 1, 1)).sum() / processes.shared_count(pixels)
