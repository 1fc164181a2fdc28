"""What is kept of an old student: nothing to keep where both agree, no gradient to the old one, and DER++'s squares."""

from dataclasses import replace

import pytest
import torch
from support.distillation import STUDENT_CHANNELS, random_outputs
from torch.nn import functional

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.student.box_codes import AXIS, Heading, coding_of
from kd_training.batches.processes import ALONE
from kd_training.distill.from_old.foreground import OldObjects, SharedClasses
from kd_training.distill.from_old.parts import ComparedStudents, KeptBoxes, dark_loss, kept_features, kept_heatmap

WARM = torch.full((10,), 2.0)
SAME = SharedClasses.of(NUSCENES, NUSCENES)


def compared(old_seed: int = 1, new_seed: int = 2, least: float = 0.02) -> ComparedStudents:
    old = random_outputs(old_seed, 2, STUDENT_CHANNELS, gradient=True)
    new = random_outputs(new_seed, 2, STUDENT_CHANNELS, gradient=True)
    return ComparedStudents(new, old, SAME, OldObjects(old.heatmap.detach().float(), least), ALONE)


def boxes_kept(students: ComparedStudents) -> torch.Tensor:
    return KeptBoxes(NUSCENES, AXIS, AXIS, velocity=0.2)(students)


LOSSES = {
    "heatmap": lambda students: kept_heatmap(students, WARM),
    "boxes": boxes_kept,
    "features": lambda students: kept_features(students, "pre_head"),
    "features of a coarser layer": lambda students: kept_features(students, "quarter"),
    "dark": lambda students: dark_loss(students, torch.tensor([True, False])),
}


@pytest.mark.parametrize("name", LOSSES)
def test_students_that_agree_have_nothing_to_keep(name):
    assert LOSSES[name](compared(new_seed=2)) > 0
    same = compared(old_seed=1, new_seed=1)
    assert LOSSES[name](same).item() == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_the_new_student_hears_of_it_and_descends(name):
    students = compared()
    before = LOSSES[name](students)
    before.backward()
    heard = [value for value in (students.new.heatmap, students.new.regression, *students.new.features.values())
             if value.grad is not None]  # fmt: skip
    assert heard and all(torch.isfinite(value.grad).all() for value in heard)
    steps = {id(value): value.detach() - 1e-3 * value.grad / value.grad.norm() for value in heard}
    moved = students.new.map(lambda value: steps.get(id(value), value.detach()))
    assert LOSSES[name](replace(students, new=moved)) < before


def test_cells_outside_the_old_foreground_do_not_count():
    students = compared(least=0.05)
    loss = kept_heatmap(students, WARM)
    loss.backward()
    assert not students.new.heatmap.grad[~students.objects.foreground].any()
    assert students.new.heatmap.grad[students.objects.foreground].all()
    everywhere = compared(least=0.0)
    kept_heatmap(everywhere, WARM).backward()
    assert everywhere.new.heatmap.grad.all()


@pytest.mark.parametrize("name", ["heatmap", "boxes", "features"])
def test_a_rig_on_which_no_class_is_heard_does_not_count(name):
    students = compared()
    heard = torch.zeros(2, 10, dtype=torch.bool)
    heard[1] = True
    alone = replace(students, objects=replace(students.objects, heard=heard))
    LOSSES[name](alone).backward()
    outputs = (students.new.heatmap, students.new.regression, *students.new.features.values())
    gradients = [value.grad for value in outputs if value.grad is not None]
    assert gradients and not any(gradient[0].any() for gradient in gradients)
    assert any(gradient[1].any() for gradient in gradients)


def test_the_heatmap_keeps_its_gradient_at_every_temperature():
    """T^2 KL of softened probabilities: near agreement the gradient is p'(z) dz for any T."""
    logits = torch.zeros(1, 10, 24, 32)
    new = logits + 0.1
    for value in (1.0, 2.0, 8.0):
        students = compared(least=0.0)
        students = replace(students, new=students.new._replace(heatmap=new), objects=OldObjects(logits, 0.0))
        expected = (0.5 * 0.25 * 0.1**2 * logits[0, 0].numel() / students.counts.float()).sum()
        assert kept_heatmap(students, torch.full((10,), value)).item() == pytest.approx(expected.item(), rel=0.02)


def test_dark_replay_is_the_mean_squared_error_of_the_replayed_logits():
    students = compared()
    chosen = torch.tensor([False, True])
    expected = functional.mse_loss(students.new.heatmap[1:], students.objects.logits[1:])
    assert torch.equal(dark_loss(students, chosen), expected)
    nothing = dark_loss(students, torch.tensor([False, False]))
    nothing.backward()
    assert nothing == 0.0 and not students.new.heatmap.grad.any()


def test_boxes_are_compared_where_the_old_student_has_its_objects():
    students = compared()
    boxes_kept(students).backward()
    touched = students.new.regression.grad.abs().sum(dim=2) > 0  # rigs, groups, rows, columns
    for group in range(len(NUSCENES.groups)):
        of_group = students.objects.peaks[:, NUSCENES.group_of_label == group].any(dim=1)
        assert torch.equal(touched[:, group], of_group)


def test_headings_that_a_class_lacks_are_not_kept():
    cone = NUSCENES.label("traffic_cone")
    students = compared()
    logits = torch.full_like(students.objects.logits, -9.0)
    logits[0, cone, 3, 4] = 2.0
    students = replace(students, objects=OldObjects(logits, 0.1))
    boxes_kept(students).backward()
    gradient = students.new.regression.grad[0, NUSCENES.group_of_label[cone], :, 3, 4]
    assert not gradient[AXIS.headings].any() and gradient[: AXIS.headings.start].all()


def test_of_another_coding_the_codes_that_both_have_are_kept():
    """Old velocities are in its unit, and its headings say nothing about the new ones."""
    students = compared()
    vector = coding_of(Heading.vector)
    old = torch.zeros(2, 6, len(vector.names), 24, 32)
    old[:, :, vector.velocities] = 3.0 / vector.velocity_unit
    students = replace(students, old=students.old._replace(regression=old))
    KeptBoxes(NUSCENES, vector, AXIS, velocity=0.2)(students).backward()
    touched = students.new.regression.grad.abs().sum(dim=(0, 1, 3, 4)) > 0
    assert not touched[AXIS.headings].any() and touched.sum() == len(AXIS.names) - len(AXIS.heading_names)
    same = torch.zeros(2, 6, len(AXIS.names), 24, 32)
    same[:, :, AXIS.velocities] = 3.0 / AXIS.velocity_unit
    agreed = replace(students, new=students.new._replace(regression=same))
    assert KeptBoxes(NUSCENES, vector, AXIS, velocity=0.2)(agreed).item() == pytest.approx(0.0, abs=1e-4)


def test_classes_find_their_places_by_name():
    groups = NUSCENES.groups
    old, new = ClassList(groups[:2]), ClassList((groups[3], groups[1], groups[0]))
    shared = SharedClasses.of(old, new)
    assert [new.names[label] for label in shared.label] == list(old.names)
    assert [new.group_of_label[label] for label in shared.label] == shared.new_group.tolist()
    with pytest.raises(ConfigError, match="the old student detects barrier, which model.classes lacks"):
        SharedClasses.of(ClassList(groups[:4]), ClassList(groups[:3]))
