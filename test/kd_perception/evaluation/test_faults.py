"""Planted misses and inventions are explained by what was planted."""

from collections.abc import Sequence

import numpy as np
from support.viewed import boxes, cameras

from kd_perception.evaluation.faults import Judged
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.recordings.viewed_frame import FaultKind

HERE = (12.0, 0.0, 0.0)


def reasons(
    truth: Boxes, *detections: Boxes, uncounted: Boxes | None = None, seen_by: Sequence[Camera] = ()
) -> dict[FaultKind, list[str]]:
    judged = Judged(
        detections=Boxes.concatenate(detections),
        threshold=0.25,
        ground_truth=truth,
        points=np.full(len(truth), 7),
        uncounted=uncounted or Boxes.empty(),
        cameras=seen_by,
    )
    faults = list(judged.faults())
    return {kind: [fault.reason for fault in faults if fault.kind is kind] for kind in FaultKind}


def missed(truth: Boxes, *detections: Boxes, seen_by: Sequence[Camera] = ()) -> str:
    (reason,) = reasons(truth, *detections, seen_by=seen_by)[FaultKind.MISSED]
    return reason


def false(truth: Boxes, *detections: Boxes, uncounted: Boxes | None = None) -> str:
    (reason,) = reasons(truth, *detections, uncounted=uncounted)[FaultKind.FALSE]
    return reason


def test_nothing_is_wrong_where_each_box_is_found() -> None:
    assert reasons(boxes(HERE), boxes((12.5, 0.5, 0.0))) == {FaultKind.MISSED: [], FaultKind.FALSE: []}


def test_a_score_below_the_threshold() -> None:
    reason = missed(boxes(HERE), boxes((12.3, 0.4, 0.0), score=0.18))
    assert reason.startswith(
        "car at x 12.0 m, y 0.0 m was missed: the car predicted 0.5 m away has a score of 0.18, below the threshold of "
        "0.25; 7 LiDAR and RADAR points;"
    )


def test_another_class_is_named_on_both_sides() -> None:
    truck = boxes((12.0, 1.0, 0.0), name="truck", score=0.6)
    found = reasons(boxes(HERE), truck)
    assert "was missed: it was predicted as truck (score 0.60, 1.0 m away)" in found[FaultKind.MISSED][0]
    assert found[FaultKind.FALSE] == [
        "truck at x 12.0 m, y 1.0 m of score 0.60 is false: the ground truth there, 1.0 m away, is a car"
    ]


def test_another_class_that_found_a_box_of_its_own_is_no_confusion() -> None:
    truth = Boxes.concatenate([boxes(HERE), boxes((12.0, 1.0, 0.0), name="truck")])
    assert "no car is predicted anywhere from score 0.25 on" in missed(truth, boxes((12.0, 1.0, 0.0), name="truck"))


def test_a_prediction_too_far_away_on_both_sides() -> None:
    found = reasons(boxes(HERE), boxes((15.0, 0.0, 0.0), score=0.4))
    assert "the nearest car predicted of score 0.40 is 3.0 m away, beyond 2 m" in found[FaultKind.MISSED][0]
    assert "is false: the nearest car of the ground truth is 3.0 m away, beyond 2 m" in found[FaultKind.FALSE][0]


def test_one_prediction_for_two_boxes_and_two_for_one() -> None:
    crowd = boxes(HERE, (13.0, 0.0, 0.0))
    assert "the only car predicted near it, 1.2 m away, found another box" in missed(crowd, boxes((11.8, 0.0, 0.0)))
    double = boxes((12.0, 0.5, 0.0), score=0.3)
    assert "the car 0.5 m away was found by a prediction of a better score" in false(boxes(HERE), boxes(HERE), double)


def test_an_annotation_that_does_not_count_and_one_that_is_not_there() -> None:
    nothing = Boxes.empty()
    assert "the car annotated 1.0 m away does not count" in false(
        nothing, boxes(HERE), uncounted=boxes((13.0, 0.0, 0.0))
    )
    assert false(nothing, boxes(HERE)).endswith("is false: the ground truth has no car here")


def test_the_camera_that_should_see_it_is_named_or_none() -> None:
    ahead, left = cameras()
    assert "; ahead should see it, " in missed(boxes(HERE), seen_by=(ahead, left))
    assert "; left should see it, " in missed(boxes((0.0, 12.0, 0.0)), seen_by=(ahead, left))
    assert missed(boxes((-30.0, -1.0, 0.0)), seen_by=(ahead,)).endswith("it is in no camera's picture")
