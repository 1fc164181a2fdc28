"""A teacher as its file has it: pillars found without scatter, from the tables of `kd_perception.teacher.pillars`."""

import torch
from torch import Tensor, nn

from kd_perception.teacher.spec import INPUTS, TeacherSpec
from kd_training.models.teachers.centerpoint import CenterPoint


class TeacherFileNetwork(nn.Module):
    """The teacher in evaluation mode; its outputs are those of `CenterPoint.detect`, within rounding."""

    def __init__(self, teacher: CenterPoint, spec: TeacherSpec) -> None:
        super().__init__()
        self.teacher, self.spec = teacher, spec
        self.steps = spec.points.crowd.bit_length() - 1
        weight, bias = _folded(teacher.pillars.linear, teacher.pillars.norm)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.register_buffer("place", torch.arange(spec.points.most, dtype=torch.int32))
        self.register_buffer("reach", 2 ** torch.arange(self.steps, dtype=torch.int32))
        self.eval()

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the file's inputs, in the order of `forward`."""
        return INPUTS

    def forward(self, points: Tensor, followers: Tensor, first_point: Tensor) -> tuple[Tensor, Tensor]:
        """points (N, 9), followers (N,) int32, first_point (cells,) int32 -> heatmap (classes, rows, columns) in
        [0, 1], regression (groups, codes, rows, columns)."""
        pillars = self.teacher.pillars
        lifted = torch.relu(nn.functional.linear(points, self.weight, self.bias))
        for step in range(self.steps):  # lifted[i] becomes the maximum over 2 ** (step + 1) points from i on
            ahead = torch.minimum(followers, self.reach[step])
            lifted = torch.maximum(lifted, torch.index_select(lifted, 0, self.place + ahead))
        lifted = torch.cat([lifted, lifted.new_zeros(1, pillars.channels)])
        raster = torch.index_select(lifted, 0, first_point).reshape(1, *pillars.raster.shape, pillars.channels)
        outputs = self.teacher.from_levels(self.teacher.backbone(raster.permute(0, 3, 1, 2)))
        return torch.sigmoid(outputs.heatmap[0]), outputs.regression[0]


def _folded(linear: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Weight (channels, features) and bias (channels,) of a linear layer with the batch norm behind it."""
    with torch.no_grad():
        scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
        weight = linear.weight.double() * scale[:, None]
        bias = norm.bias.double() - norm.running_mean.double() * scale
        return weight.float(), bias.float()
