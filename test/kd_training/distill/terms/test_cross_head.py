"""The student's features through the teacher's frozen head: who learns, who does not, and what is the minimum."""

import torch
from support.distillation import (
    STUDENT_CHANNELS,
    TEACHER_CHANNELS,
    make_ground_truth,
    random_boxes,
    random_outputs,
    side,
)

from kd_perception.geometry.boxes import Boxes
from kd_training.batches.processes import ALONE
from kd_training.config.distill import CrossHeadConfig
from kd_training.distill.fit import Side
from kd_training.distill.terms.cross_head import CrossHeadTerm
from kd_training.distill.terms.term import ComparedBatch

STUDENT = side("student", STUDENT_CHANNELS)


def frozen_teacher() -> Side:
    torch.manual_seed(1)
    teacher = side("teacher", TEACHER_CHANNELS)
    teacher.head(torch.randn(4, TEACHER_CHANNELS["pre_head"], 8, 8))  # norm statistics that are not those of a new one
    teacher.head.eval().requires_grad_(requires_grad=False)
    return teacher


def make_batch(boxes: Boxes) -> ComparedBatch:
    student = random_outputs(0, 1, STUDENT_CHANNELS, gradient=True)
    return ComparedBatch(student, random_outputs(1, 1, TEACHER_CHANNELS), make_ground_truth([boxes]), ALONE, {})


def test_the_teachers_head_stays_as_it_was_and_only_features_and_adapter_learn():
    teacher = frozen_teacher()
    before = {name: value.clone() for name, value in teacher.head.state_dict().items()}
    term, batch = CrossHeadTerm(CrossHeadConfig(weight=1.0), STUDENT, teacher), make_batch(random_boxes(0, 5))
    term.train()  # as a run does with all that it trains: it must not reach the teacher
    term(batch).loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in teacher.head.state_dict().items())
    assert not teacher.head.training and all(value.grad is None for value in teacher.head.parameters())
    assert batch.student.features["pre_head"].grad.abs().sum() > 0.0
    assert all(value.grad.abs().sum() > 0.0 for value in term.parameters())
    assert sum(value.numel() for value in term.parameters()) == 6 * 12 + 12  # the adapter alone


def test_the_students_own_answers_hear_nothing_of_it():
    batch = make_batch(random_boxes(0, 5))
    CrossHeadTerm(CrossHeadConfig(weight=1.0), STUDENT, frozen_teacher())(batch).loss.backward()
    assert batch.student.heatmap.grad is None and batch.student.regression.grad is None


def test_features_that_the_teachers_head_reads_as_its_own_cost_nothing():
    teacher, boxes = frozen_teacher(), random_boxes(0, 5)
    alike = side("student", TEACHER_CHANNELS)
    term, batch = CrossHeadTerm(CrossHeadConfig(weight=2.0), alike, teacher), make_batch(boxes)
    with torch.no_grad():
        term.adapter.convolution.weight.copy_(torch.eye(12)[:, :, None, None])
        term.adapter.convolution.bias.zero_()
        answers = teacher.head(batch.teacher.features["pre_head"])
    outputs = batch.teacher._replace(heatmap=answers[0], regression=answers[1])
    same = ComparedBatch(outputs, outputs, batch.truth, ALONE, {})
    assert term(same).loss.item() < 1e-6
    far = outputs._replace(features={**outputs.features, "pre_head": outputs.features["pre_head"] + 1.0})
    assert term(ComparedBatch(far, outputs, batch.truth, ALONE, {})).loss.item() > 1e-3


def test_a_scene_without_objects_is_legal():
    batch = make_batch(Boxes.empty())
    CrossHeadTerm(CrossHeadConfig(weight=1.0), STUDENT, frozen_teacher())(batch).loss.backward()
    assert torch.isfinite(batch.student.features["pre_head"].grad).all()
