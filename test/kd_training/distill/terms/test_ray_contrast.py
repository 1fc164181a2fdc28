"""Contrast along camera rays: which cells take part, a case by hand, and which way it pushes."""

import math

import numpy as np
import pytest
import torch
from support.distillation import GRID, STUDENT_CHANNELS, TEACHER_CHANNELS, box, make_ground_truth, random_outputs

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import ring_rig
from kd_training.batches.processes import ALONE
from kd_training.config.distill import RayContrastConfig
from kd_training.data.camera_rays import object_rays
from kd_training.distill.terms.ray_contrast import RayContrastTerm, ray_losses
from kd_training.distill.terms.term import ComparedBatch

FORWARD = ring_rig(1, 80, 40)
AHEAD = box(6.2, 0.2, 1.0, 1.0)  # in row 12, column 23


def make_term(weight: float = 1.0) -> RayContrastTerm:
    torch.manual_seed(0)
    return RayContrastTerm(RayContrastConfig(weight=weight), GRID, student=6, teacher=12)


def make_batch(boxes: list[Boxes], cameras=FORWARD) -> ComparedBatch:
    student = random_outputs(0, len(boxes), STUDENT_CHANNELS, gradient=True)
    teacher = random_outputs(1, len(boxes), TEACHER_CHANNELS)
    return ComparedBatch(student, teacher, make_ground_truth(boxes), ALONE, {}, cameras=[cameras] * len(boxes))


def test_a_ray_runs_from_the_camera_through_the_object_to_the_edge():
    rays = object_rays([AHEAD], [FORWARD], GRID, GRID.shape)
    assert (rays.row.tolist(), rays.column.tolist()) == ([12], [23])
    cells = set(zip(rays.along_row[rays.there], rays.along_column[rays.there], strict=True))
    assert cells == {(12, column) for column in range(16, 32)}
    to_the_left = object_rays([box(6.2, 6.2, 1.0, 1.0)], [ring_rig(8, 80, 40)], GRID, GRID.shape)
    assert len(to_the_left.rig) == 1 and (np.abs(np.diff(to_the_left.along_row[:, :8], axis=1)) <= 1).all()


def test_only_cameras_that_see_an_object_have_a_ray():
    behind = box(-6.2, 0.2, 1.0, 1.0)
    rays = object_rays([Boxes.empty(), Boxes.concatenate([AHEAD, behind])], [FORWARD, FORWARD], GRID, GRID.shape)
    assert (rays.rig.tolist(), rays.column.tolist()) == ([1], [23])
    assert len(object_rays([AHEAD], [[]], GRID, GRID.shape).rig) == 0


@pytest.mark.parametrize(("boxes", "cameras"), [([Boxes.empty()] * 2, FORWARD), ([AHEAD], [])])
def test_rays_without_objects_and_objects_without_cameras_teach_nothing(boxes, cameras):
    batch = make_batch(boxes, cameras)
    loss = make_term()(batch).loss
    loss.backward()
    assert loss.item() == 0.0 and batch.student.features["pre_head"].grad.abs().sum() == 0.0


def test_the_loss_of_a_small_case():
    """One key of three does not count: a choice between two, of likeness 1 and 0, at temperature .5."""
    query = torch.tensor([[2.0, 0.0]])
    keys = torch.tensor([[[5.0, 0.0], [0.0, 3.0], [1.0, 0.1]]])
    loss = ray_losses(query, keys, torch.tensor([[True, False]]), 0.5)
    assert loss.item() == pytest.approx(math.log(1.0 + math.exp(-2.0)))


def test_cells_off_the_ray_and_in_other_boxes_are_left_alone():
    """A second object of the ray is seen by no camera here: it is no object of a ray, and no counterexample either."""
    second = box(9.4, 0.2, 1.0, 1.0)
    second.center[:, 2] = 40.0  # above the picture
    batch = make_batch([Boxes.concatenate([AHEAD, second])])
    make_term()(batch).loss.backward()
    touched = batch.student.features["pre_head"].grad.abs().sum(dim=(0, 1)) > 0.0
    assert set(touched.nonzero()[:, 0].tolist()) == {12}
    assert set(touched.nonzero()[:, 1].tolist()) == set(range(16, 32)) - {27}


def test_descending_makes_the_objects_cell_the_one_that_looks_like_it():
    batch, term = make_batch([AHEAD]), make_term()
    features = batch.student.features["pre_head"]
    query = term.of_teacher(batch.teacher.features["pre_head"][:, :, 12, 23])

    def likeness() -> torch.Tensor:
        return torch.cosine_similarity(term.of_student(features)[0, :, 12, 16:], query[0, :, None], dim=0)

    before = likeness()
    (slope,) = torch.autograd.grad(term(batch).loss, features)
    with torch.no_grad():
        features -= 0.05 * slope
    moved = likeness() - before
    assert moved[23 - 16] > 0.0 and moved[torch.arange(16) != 7].sum() < 0.0
