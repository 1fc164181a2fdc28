"""Boxes -> nuScenes result file -> boxes."""

import json

import numpy as np
import pytest

from kd_perception.errors import DataError
from kd_perception.evaluation.results import (
    MAX_BOXES_PER_SAMPLE,
    boxes_of_result,
    read_results,
    sample_result,
    write_results,
)
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw

LEVEL = make_transform(quaternion_from_yaw(2.1), np.array([600.0, 1600.0, 0.4]))


def random_boxes(count: int, seed: int = 0) -> Boxes:
    generator = np.random.default_rng(seed)
    return Boxes(
        center=generator.uniform(-40, 40, (count, 3)),
        size=generator.uniform(0.3, 9, (count, 3)),
        yaw=generator.uniform(-3.1, 3.1, count),
        velocity=generator.normal(0, 4, (count, 2)),
        label=generator.integers(0, len(CLASSES), count),
        score=generator.permutation(np.linspace(0.01, 0.99, count)),
    )


TILTED = LEVEL @ make_transform(np.array([1.0, 0.02, -0.03, 0.0]), np.zeros(3))  # some 4 degrees of roll and pitch


@pytest.mark.parametrize("global_from_ego", [LEVEL, TILTED])
def test_round_trip_restores_every_field(global_from_ego) -> None:
    boxes = random_boxes(40)
    boxes = boxes[np.argsort(-boxes.score)]
    restored = boxes_of_result(sample_result("s", boxes, global_from_ego), global_from_ego)
    for field in ("center", "size", "velocity", "score"):
        np.testing.assert_allclose(getattr(restored, field), getattr(boxes, field), atol=1e-9)
    np.testing.assert_array_equal(restored.label, boxes.label)
    np.testing.assert_allclose(np.exp(1j * restored.yaw), np.exp(1j * boxes.yaw), atol=1e-9)


def test_entry_follows_nuscenes_conventions() -> None:
    box = Boxes(
        np.array([[2.0, 1.0, 0.5]]),
        np.array([[4.6, 1.9, 1.6]]),
        np.array([0.0]),
        np.array([[3.0, 0.0]]),
        np.array([0]),
        np.array([0.7]),
    )
    quarter_left = make_transform(quaternion_from_yaw(np.pi / 2), np.array([100.0, 200.0, 10.0]))
    (entry,) = sample_result("token", box, quarter_left)
    assert entry["size"] == [1.9, 4.6, 1.6]  # width, length, height
    np.testing.assert_allclose(entry["translation"], [99.0, 202.0, 10.5])
    np.testing.assert_allclose(entry["rotation"], [np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])  # w, x, y, z
    np.testing.assert_allclose(entry["velocity"], [0.0, 3.0], atol=1e-12)  # global axes
    assert (entry["sample_token"], entry["detection_name"], entry["attribute_name"]) == (
        "token",
        "car",
        "vehicle.moving",
    )


def test_keeps_the_best_five_hundred() -> None:
    boxes = random_boxes(700)
    scores = [entry["detection_score"] for entry in sample_result("s", boxes, LEVEL)]
    assert len(scores) == MAX_BOXES_PER_SAMPLE
    assert scores == sorted(boxes.score, reverse=True)[:MAX_BOXES_PER_SAMPLE]


def test_given_attributes_stay_with_their_boxes() -> None:
    boxes = random_boxes(5)
    entries = sample_result("s", boxes, LEVEL, attributes=[f"a{i}" for i in range(5)])
    assert [entry["attribute_name"] for entry in entries] == [f"a{i}" for i in np.argsort(-boxes.score)]


def test_no_boxes() -> None:
    assert sample_result("s", Boxes.empty(), LEVEL) == []
    assert len(boxes_of_result([], LEVEL)) == 0


def test_file_round_trip_and_meta(tmp_path) -> None:
    results = {"s": sample_result("s", random_boxes(3), LEVEL), "empty": []}
    write_results(tmp_path / "r.json", results)
    assert read_results(tmp_path / "r.json") == results
    assert json.loads((tmp_path / "r.json").read_text())["meta"]["use_camera"] is True


@pytest.mark.parametrize("content", ["{", "[]", '{"meta": {}}'])
def test_a_file_that_is_none_is_named(tmp_path, content) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(DataError, match="r.json is no nuScenes result file"):
        read_results(path)
    with pytest.raises(DataError, match="does not exist"):
        read_results(tmp_path / "absent.json")


GOOD = {"translation": [1, 2, 3], "size": [1, 2, 1], "rotation": [1, 0, 0, 0], "velocity": [0, 0.0],
        "detection_name": "car", "detection_score": 0.5}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"velocity": None}, r"velocity null in place of 2 numbers; give \[0, 0\] where it is unknown"),
        ({"velocity": [0, None]}, "velocity .* in place of 2 numbers"),
        ({"translation": None}, "translation null in place of 3 numbers"),
        ({"translation": [0, 0, float("nan")]}, "all are finite"),
        ({"size": [1, 0, 1]}, "size is above 0"),
        ({"rotation": [0, 0, 0, 0]}, "a rotation of zero, which is no quaternion"),
        ({"rotation": [1, 0, 0]}, "rotation .* in place of 4 numbers"),
        ({"detection_name": None}, "detection_name null; name its class"),
        ({"detection_score": "high"}, 'detection_score "high"; give a number'),
    ],
)
def test_a_wrong_box_is_named(tmp_path, change, message) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps({"results": {"a": [], "b": [GOOD, {**GOOD, **change}]}}))
    with pytest.raises(DataError, match=f"r.json: box 1 of sample b has {message}|r.json: box 1 .*{message}"):
        read_results(path)


def test_foreign_files_are_named(tmp_path) -> None:
    path = tmp_path / "r.json"
    tracked = {**GOOD, "tracking_name": "car"}
    del tracked["detection_name"]
    for rows, message in (([tracked], "tracking result; give detections"), (None, "sample a has null"), (["x"], "is")):
        path.write_text(json.dumps({"results": {"a": rows}}))
        with pytest.raises(DataError, match=message):
            read_results(path)
    path.write_text(json.dumps({"results": {"a": [{**GOOD, "velocity": [float("nan"), 0.0]}]}}))
    assert read_results(path)["a"][0]["detection_name"] == "car"
