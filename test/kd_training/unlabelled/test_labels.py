"""Labels of a scene from made-up answers: truth, doubt around what is unsure, velocities, and files of both."""

from dataclasses import replace

import numpy as np
import pytest
from support.distillation import GRID, box

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES, NUSCENES, ClassList
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_training.data.pseudo_labels import read_pseudo_labels, write_pseudo_labels
from kd_training.unlabelled.answers import KeyframeAnswer, SceneAnswers, read_answers, write_answers
from kd_training.unlabelled.labels import labels_of
from kd_training.unlabelled.thresholds import NEVER, ClassThresholds, Thresholds

CAR, BUS, CONE = (CLASSES.index(name) for name in ("car", "bus", "traffic_cone"))
UNSURE_CELL = (CAR, 5, 7)


def scene(keyframes: int = 3) -> SceneAnswers:
    """An ego that turns; a car that goes 4 m/s in global, of which the teacher says nothing true; a bus seen once."""
    answers = []
    for k in range(keyframes):
        global_from_ego = make_transform(quaternion_from_yaw(0.3 * k), np.array([100.0 + k, 50.0, 0.0]))
        boxes = box(102.0 + 2.0 * k, 51.0, 4.0, 2.0).transformed(np.linalg.inv(global_from_ego))
        boxes.velocity[:] = 0.5
        boxes.score[:] = 0.6
        if k == 1:
            boxes = Boxes.concatenate([boxes, box(-8.0, 3.0, 10.0, 3.0, label=BUS)])
            boxes.score[1] = 0.6
        cells, values = np.array([UNSURE_CELL, (CAR, 20, 20), (CONE, 2, 2)]), np.array([0.3, 0.1, 0.3])
        answers.append(KeyframeAnswer(f"sample {k}", 500_000 * k, global_from_ego, boxes, cells, values))
    return SceneAnswers(GRID, tuple(answers))


def thresholds(**changes: ClassThresholds) -> Thresholds:
    plain = dict.fromkeys(CLASSES, ClassThresholds(0.2, 0.5, 0.7))
    return Thresholds("t", 3, plain | changes)


def test_tracked_boxes_are_truth_with_the_tracks_velocity_in_ego():
    labels = labels_of(scene(), thresholds())
    for k, entry in enumerate(labels.values()):
        assert entry.boxes.label.tolist() == [CAR]
        np.testing.assert_allclose(entry.boxes.velocity[0], [4 * np.cos(0.3 * k), -4 * np.sin(0.3 * k)], atol=1e-9)


def test_a_box_without_a_track_must_be_surer_and_its_velocity_is_unknown():
    sure = thresholds(bus=ClassThresholds(0.2, 0.5, 0.55))
    boxes = labels_of(scene(), sure)["sample 1"].boxes
    assert boxes.label.tolist() == [CAR, BUS] and np.isnan(boxes.velocity[1]).all()
    told = thresholds(bus=ClassThresholds(0.2, 0.5, 0.55, velocity_from_track=False))
    assert np.isfinite(labels_of(scene(), told)["sample 1"].boxes.velocity).all()


def test_of_one_object_under_two_classes_the_surer_is_truth():
    keyframes = []
    for entry in scene().keyframes:
        twin = replace(entry.boxes[:1], label=np.array([BUS]), score=np.array([0.55]))
        beside = replace(twin, center=twin.center + [0.0, 2.5, 0.0])
        keyframes.append(replace(entry, boxes=Boxes.concatenate([entry.boxes[:1], twin, beside])))
    answers = SceneAnswers(GRID, tuple(keyframes))
    for entry in labels_of(answers, thresholds()).values():
        assert entry.boxes.label.tolist() == [CAR, BUS] and entry.boxes.score.tolist() == [0.6, 0.55]


def test_cells_from_low_on_are_in_doubt_with_their_neighbours_and_an_untrusted_class_everywhere():
    never = thresholds(traffic_cone=ClassThresholds(0.2, NEVER, NEVER))
    doubt = labels_of(scene(), never)["sample 0"].doubt
    expected = np.zeros((len(CLASSES), *GRID.shape), bool)
    expected[CAR, 4:7, 6:9] = True
    expected[CONE] = True
    np.testing.assert_array_equal(doubt.mask(np.eye(4), GRID, len(CLASSES)), expected)


def test_files_give_back_what_was_written_and_name_what_is_wrong(tmp_path):
    answers, path = scene(), tmp_path / "answers.npz"
    write_answers(path, "this", answers)
    back = read_answers(path, "this", NUSCENES)
    assert read_answers(path, "other", NUSCENES) is None and back.grid == GRID
    labels = [labels_of(given, thresholds()) for given in (answers, back)]
    write_pseudo_labels(tmp_path / "labels.npz", labels[0])
    for found in (labels[1], read_pseudo_labels(tmp_path / "labels.npz", NUSCENES)):
        for sample, entry in labels[0].items():
            for name, values in entry.boxes.arrays.items():
                np.testing.assert_allclose(getattr(found[sample].boxes, name), values, err_msg=name)
            masks = [one.doubt.mask(np.eye(4), GRID, len(CLASSES)) for one in (entry, found[sample])]
            np.testing.assert_array_equal(*masks)
    with pytest.raises(ConfigError, match="run kd label first"):
        read_pseudo_labels(tmp_path / "absent.npz", NUSCENES)
    (tmp_path / "labels.npz").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match="no readable labels"):
        read_pseudo_labels(tmp_path / "labels.npz", NUSCENES)


def test_labels_are_read_by_name_where_a_student_has_other_classes(tmp_path):
    """A list without cars, in another order, and with trams: nobody looked for these."""
    surely = labels_of(scene(), thresholds(bus=ClassThresholds(0.2, 0.5, 0.55)))
    write_pseudo_labels(tmp_path / "labels.npz", surely)
    turned = ClassList(tuple(reversed(NUSCENES.groups[1:]))).with_others(["tram"])
    entry = read_pseudo_labels(tmp_path / "labels.npz", turned)["sample 1"]
    assert len(surely["sample 1"].boxes) == 2 and [entry.boxes.class_of(k).name for k in range(len(entry.boxes))] == [
        "bus"
    ]
    assert {turned.names[label] for label in entry.doubt.label} == {"traffic_cone"}
    assert entry.doubt.everywhere.tolist() == [turned.label("tram")]
