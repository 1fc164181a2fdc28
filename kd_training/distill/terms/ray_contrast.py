"""Contrast along camera rays (RayD3D, AAAI 2026): of all cells on one ray the object's is to be the one that looks like
the teacher's object. Depth is what a LiDAR has and a camera lacks."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_perception.geometry.grid import BevGrid
from kd_training.config.distill import RayContrastConfig
from kd_training.data.camera_rays import object_rays
from kd_training.distill.adapters import resized
from kd_training.distill.terms.term import ComparedBatch, TermValue


class RayContrastTerm(nn.Module):
    """L = weight  mean over rays of -log( exp(q.k_0 / t) / (exp(q.k_0 / t) + sum_i exp(q.k_i / t)) ).

    q is the teacher's feature at the object, k_0 the student's there, and k_i the student's at the other cells of the
    ray that are in no box; all are projected and normalised; t is the temperature. A ray is that of a camera through
    the centre of an object that it sees, so there are none without objects.
    """

    name = "ray_contrast"

    def __init__(self, config: RayContrastConfig, grid: BevGrid, *, student: int, teacher: int) -> None:
        """`student`, `teacher`: channels of their layers."""
        super().__init__()
        self.config, self.grid = config, grid
        self.of_student = nn.Conv2d(student, config.channels, 1)
        self.of_teacher = nn.Linear(teacher, config.channels)

    def forward(self, batch: ComparedBatch) -> TermValue:
        """The scalar loss alone."""
        layer = self.config.layer
        teacher = batch.teacher.features[layer.teacher]
        shape, device = tuple(teacher.shape[2:]), teacher.device
        rays = object_rays(batch.truth.boxes, batch.cameras, self.grid, shape)
        rig, row, column, along_row, along_column, there = (torch.from_numpy(part).to(device) for part in rays)
        keys = self.of_student(resized(batch.student.features[layer.student], shape)).float()
        query = self.of_teacher(teacher[rig, :, row, column]).float()
        inside = batch.footprints(self.grid, shape).inside
        others = there & ~inside[rig[:, None], along_row, along_column]
        others &= (along_row != row[:, None]) | (along_column != column[:, None])
        with torch.autocast(device.type, enabled=False):
            places = torch.cat([row[:, None], along_row], 1), torch.cat([column[:, None], along_column], 1)
            along = keys.permute(0, 2, 3, 1)[rig[:, None], places[0], places[1]]
            loss = ray_losses(query, along, others, self.config.temperature).sum()
        count = batch.processes.shared_count(torch.tensor(len(rig), device=device))
        return TermValue(self.config.weight * loss / count)


def ray_losses(query: Tensor, keys: Tensor, others: Tensor, temperature: float) -> Tensor:
    """InfoNCE (R,) of queries (R, C) and keys (R, 1 + S, C), the first of which is the object's; others (R, S) bool:
    which of the rest count."""
    likeness = functional.normalize(keys, dim=2) @ functional.normalize(query, dim=1)[:, :, None]
    counted = functional.pad(others, (1, 0), value=True)
    logits = (likeness[:, :, 0] / temperature).masked_fill(~counted, -torch.inf)
    return torch.logsumexp(logits, dim=1) - logits[:, 0]
