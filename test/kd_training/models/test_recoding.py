"""Weights of one coding of boxes in a model of another: what both can say is predicted as before."""

import torch
from support.distillation import STUDENT_CHANNELS, TEACHER_CHANNELS, side

from kd_perception.student.box_codes import AXIS, VECTOR
from kd_training.distill.head import inherit_head
from kd_training.models.memory import MotionHead
from kd_training.models.recoding import recoded_weights

BEV = torch.randn(1, STUDENT_CHANNELS["pre_head"], 5, 5, generator=torch.Generator().manual_seed(0))


def codes_by_name(head: torch.nn.Module, coding, bev: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        regression = head.eval()(bev)[1]
    units = {name: coding.velocity_unit if name in ("vx", "vy") else 1.0 for name in coding.names}
    return {name: regression[:, :, place] * units[name] for place, name in enumerate(coding.names)}


def test_what_both_codings_have_is_predicted_as_before():
    old, new = (side("s", STUDENT_CHANNELS, coding=coding).head for coding in (VECTOR, AXIS))
    fresh = new.regression[0][-1].weight[6:10].clone()
    new.load_state_dict(recoded_weights(old.state_dict(), VECTOR, new))
    before, after = codes_by_name(old, VECTOR, BEV), codes_by_name(new, AXIS, BEV)
    for name in ("dx", "dy", "z", "log_l", "log_w", "log_h", "vx", "vy"):
        torch.testing.assert_close(after[name], before[name])
    assert torch.equal(new.regression[0][-1].weight[6:10], fresh)  # a heading as vector says nothing of the axis'
    given = old.state_dict()
    assert recoded_weights(given, VECTOR, old) is given


def test_the_memorys_displacements_change_their_unit():
    student = torch.nn.ModuleDict({"head": side("s", STUDENT_CHANNELS).head, "motion": MotionHead(6, 4)})
    given = {"motion.displacement.bias": torch.tensor([8.0, -2.0])}
    assert torch.equal(recoded_weights(given, VECTOR, student)["motion.displacement.bias"], torch.tensor([2.0, -0.5]))


def test_a_head_is_inherited_from_a_teacher_of_another_coding():
    student = side("s", STUDENT_CHANNELS, coding=AXIS).head
    teacher = side("t", TEACHER_CHANNELS, coding=VECTOR).head
    inherit_head(student, teacher)
    student.shared, teacher.shared = torch.nn.Identity(), torch.nn.Identity()
    features = torch.randn(1, 8, 6, 6)
    before, after = codes_by_name(teacher, VECTOR, features), codes_by_name(student, AXIS, features)
    torch.testing.assert_close(after["vx"], before["vx"])
    torch.testing.assert_close(after["log_l"], before["log_l"])
