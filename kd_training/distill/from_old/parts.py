"""What the new student keeps of the old one: its heatmap, its boxes, its features; and logits held in place (DER++)."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from kd_perception.geometry.classes import ClassList
from kd_perception.student.box_codes import BoxCoding
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.processes import TrainingProcesses
from kd_training.data.targets import learnable_codes
from kd_training.distill.from_old.foreground import OldObjects, SharedClasses
from kd_training.distill.from_old.temperature import divergence
from kd_training.losses.box_codes import as_targets, code_errors
from kd_training.models.recoding import recoded


@dataclass(frozen=True)
class ComparedStudents:
    """The outputs of both students for B rigs; the old one's without gradient. `objects`: what it sees."""

    new: DetectorOutputs
    old: DetectorOutputs
    shared: SharedClasses
    objects: OldObjects
    processes: TrainingProcesses

    @cached_property
    def logits(self) -> Tensor:
        """The new student's heatmap of the old classes (B, K, rows, columns)."""
        return self.new.heatmap[:, torch.from_numpy(self.shared.label).to(self.new.heatmap.device)].float()

    @cached_property
    def counts(self) -> Tensor:
        """What sums over each class's objects are divided by (K,): see TrainingProcesses.shared_count."""
        return self.processes.shared_count(self.objects.counts)


def kept_heatmap(students: ComparedStudents, temperature: Tensor) -> Tensor:
    """Sum over classes and foreground of T^2 KL(sigmoid(z_old / T) || sigmoid(z / T)) / old objects of the class.

    `temperature` (K,). The square keeps the gradient's size whatever T is (Hinton et al., arXiv:1503.02531).
    """
    scale = temperature.reshape(1, -1, 1, 1)
    apart = divergence(students.objects.logits / scale, students.logits / scale) * scale.square()
    return ((apart * students.objects.foreground).sum(dim=(0, 2, 3)) / students.counts).sum()


@dataclass(frozen=True)
class KeptBoxes:
    """Errors of the box codes from the old student's at its objects / objects of the class, weighted by its scores.

    `classes` are the old student's, `old` and `new` the codings of both. Codes that the old one never learnt of a class
    do not count, nor those that only the new one has.
    """

    classes: ClassList
    old: BoxCoding
    new: BoxCoding
    velocity: float

    def __call__(self, students: ComparedStudents) -> Tensor:
        """The loss, a scalar."""
        rig, label, row, column = students.objects.peaks.nonzero(as_tuple=True)
        old_group, new_group, learnt = (
            torch.from_numpy(of_class).to(label.device)[label]
            for of_class in (
                students.shared.old_group,
                students.shared.new_group,
                learnable_codes(self.classes, self.old),
            )
        )
        codes = as_targets(students.old.regression[rig, old_group, :, row, column].float(), self.old)
        codes = codes.masked_fill(~learnt, torch.nan)
        outputs = students.new.regression[rig, new_group, :, row, column]
        unknown = torch.full_like(outputs, torch.nan, dtype=torch.float32).T
        errors = code_errors(outputs, recoded(codes.T, self.old, unknown, self.new).T, self.new)
        weight = torch.ones(errors.shape[1], device=errors.device)
        weight[self.new.velocities] = self.velocity
        score = students.objects.probability[rig, label, row, column]
        return ((errors * weight).sum(dim=1) * score / students.counts[label]).sum()


def kept_features(students: ComparedStudents, layer: str) -> Tensor:
    """Squared distance of a layer's features on the old foreground, as a share of the old features' energy there."""
    new, old = (outputs.features[layer].float() for outputs in (students.new, students.old))
    cells = students.objects.raster(tuple(old.shape[2:])).unsqueeze(1)
    energy = students.processes.mean((old.square() * cells).sum())
    return ((new - old).square() * cells).sum() / torch.where(energy > 0, energy, 1.0)


def dark_loss(students: ComparedStudents, replayed: Tensor) -> Tensor:
    """Mean squared error of the logits of replayed rigs (B,) bool from the old student's (DER, arXiv:2004.07211).

    The paper stores logits next to the samples; here the frozen old student gives them for the sample as it is
    augmented. 0 without a replayed rig.
    """
    rigs = replayed.to(students.logits.device)
    if not rigs.any():
        return students.logits.sum() * 0.0
    return functional.mse_loss(students.logits[rigs], students.objects.logits[rigs])
