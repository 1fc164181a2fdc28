"""What student and teacher dispute: small scenes of one or two boxes, and where neither is to blame."""

import numpy as np
import pytest

from kd_perception.continual.verdicts import (
    AZIMUTHS,
    CommonView,
    DisputeKind,
    VerdictThresholds,
    covered_azimuths,
    judge,
    moved_to,
)
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.classes import NUSCENES
from kd_perception.geometry.transforms import make_transform

FRONT = ring_rig(1, 704, 256)
EVERYWHERE = CommonView(FRONT, np.ones(AZIMUTHS, bool))


def boxes(*rows: tuple) -> Boxes:
    """Boxes of (class name, x, y, score) or (..., yaw)."""
    rows = [(*row, 0.0)[:5] for row in rows]
    count = len(rows)
    return Boxes(
        np.array([[x, y, 1.0] for _, x, y, _, _ in rows]).reshape(count, 3),
        np.tile([4.0, 2.0, 1.5], (count, 1)),
        np.array([yaw for *_, yaw in rows], float),
        np.zeros((count, 2)),
        np.array([NUSCENES.label(name) for name, *_ in rows], np.int64),
        np.array([score for *_, score, _ in rows], float),
    )


def verdict(student: Boxes, teacher: Boxes, view: CommonView = EVERYWHERE):
    return judge(student, teacher, view, VerdictThresholds(student_score=0.3, teacher_score=0.4, agreement=0.5))


def kinds(student: Boxes, teacher: Boxes, view: CommonView = EVERYWHERE) -> list[str]:
    return [dispute.kind.value for dispute in verdict(student, teacher, view).disputes]


@pytest.mark.parametrize(
    ("student", "teacher", "expected"),
    [
        ((), (), []),
        ((("car", 10, 0, 0.8),), (("car", 10.3, 0, 0.9),), []),
        ((), (("car", 10, 0, 0.9),), ["missed"]),
        ((("car", 10, 0, 0.2),), (("car", 10, 0, 0.9),), ["missed"]),  # below what counts as a claim
        ((("car", 10, 0, 0.8),), (), ["false"]),
        ((("car", 10, 0, 0.8),), (("car", 10, 0, 0.2),), []),  # the teacher is not sure: nobody knows
        ((), (("car", 10, 0, 0.3),), []),
        ((("car", 11.5, 0, 0.8),), (("car", 10, 0, 0.9),), ["displaced"]),
        ((("car", 13.2, 0, 0.8),), (("car", 10, 0, 0.9),), ["displaced"]),
        ((("car", 15, 0, 0.8),), (("car", 10, 0, 0.9),), ["missed", "false"]),
        ((("truck", 10.5, 0, 0.8),), (("car", 10, 0, 0.9),), ["wrong_class"]),
        ((("car", 10, 0, 0.8, np.pi),), (("car", 10, 0, 0.9),), ["low_agreement"]),
        ((("barrier", 10, 0, 0.8, np.pi),), (("barrier", 10, 0, 0.9),), []),  # it has no front
        ((("car", 10, 0, 0.35),), (("car", 10, 0, 0.95),), ["low_agreement"]),
        ((("car", 10, 0, 0.8), ("car", 10, 0.5, 0.7)), (("car", 10, 0, 0.9),), []),  # one object, found twice
    ],
)
def test_each_kind(student, teacher, expected):
    found = verdict(boxes(*student), boxes(*teacher))
    assert [dispute.kind for dispute in found.disputes] == expected
    assert found.counts == {kind.value: expected.count(kind.value) for kind in DisputeKind}
    assert all(0.0 < dispute.doubt <= 1.0 and dispute.why for dispute in found.disputes)


def test_what_only_one_side_can_see_is_nobodys_fault():
    behind, far = boxes(("car", -10, 0, 0.9)), boxes(("pedestrian", 45, 0, 0.9))
    nothing = boxes()
    for unseen in (behind, far):  # no camera looks back; pedestrians count up to 40 m
        assert not kinds(nothing, unseen) and not kinds(unseen, nothing)
    ahead = boxes(("car", 10, 0, 0.9))
    uncovered = CommonView(FRONT, covered_azimuths(np.array([[-9.0, 0.5, 0.0], [0.5, 0.0, 0.0]])))
    assert uncovered.covered.sum() == 1  # the return half a metre ahead is the robot's own
    assert not kinds(ahead, nothing, uncovered) and verdict(ahead, nothing, uncovered).compared == 0
    assert verdict(ahead, ahead).compared == 2
    assert EVERYWHERE.overlaps and not uncovered.overlaps


def test_doubt_grows_with_the_teachers_certainty_and_the_students_ignorance():
    def doubt(student: Boxes, teacher: Boxes) -> float:
        return verdict(student, teacher).disputes[0].doubt

    sure, less = boxes(("bus", 10, 0, 0.9)), boxes(("bus", 10, 0, 0.5))
    guess = boxes(("bus", 10, 0, 0.25))
    assert doubt(boxes(), sure) > doubt(boxes(), less) and doubt(boxes(), sure) > doubt(guess, sure)
    far, near = (boxes(("bus", 10 + apart, 0, 0.8)) for apart in (3.0, 1.2))
    assert doubt(far, sure) > doubt(near, sure)
    assert verdict(boxes(), sure).doubts == {"bus": pytest.approx(0.9)}


def test_boxes_come_to_the_frames_time_by_the_robots_and_their_own_motion():
    """The robot drives 1 m, and turns left; a car drives 2 m to the left meanwhile, another has no known velocity."""
    then = boxes(("car", 10, 0, 0.9), ("car", 20, 0, 0.9))
    then.velocity[:] = [[0.0, 10.0], [np.nan, np.nan]]
    turned = make_transform(np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), [0.0, 1.0, 0.0])
    now = moved_to(then, turned, 0.2)
    assert now.center[0, :2] == pytest.approx([2.0, -9.0]) and now.center[1, :2] == pytest.approx([0.0, -19.0])
    assert not kinds(now[:0], now[:0])
