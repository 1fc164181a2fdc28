"""What the evaluator has received, joined by stamp."""

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import make_transform
from kd_perception.nodes.evaluator.collected_frames import CollectedFrames


def boxes(count):
    zeros = np.zeros(count)
    return Boxes(
        np.zeros((count, 3)), np.ones((count, 3)), zeros, np.zeros((count, 2)), zeros.astype(np.int64), zeros + 1
    )


def test_frames_join_by_stamp_in_any_order():
    frames = CollectedFrames()
    frames.add_boxes(2, "base_link", boxes(3))
    assert frames.unlocated() == []  # no sample asks for it yet
    frames.add_sample(2, "scene", "b")
    frames.add_sample(1, "scene", "a")
    assert frames.unlocated() == [(2, "base_link")] and frames.open_samples() == ["b", "a"]
    frames.set_pose_problem(2, "tf is not there yet")
    assert frames.missing() == {"b": "tf is not there yet", "a": "no detections with its stamp came"}
    frames.set_pose(2, make_transform(np.array([1.0, 0, 0, 0]), [100.0, 0.0, 0.0]))
    frames.add_status(1, "the detector was busy")
    assert frames.open_samples() == ["b"]  # its boxes came; of a detector that reports frames the report is to come
    frames.add_status(2)
    assert frames.open_samples() == [] and frames.missing() == {"a": "the detector was busy"}
    results = frames.results()
    assert list(results) == ["a", "b"] and results["a"] == []
    assert [row["translation"] for row in results["b"]] == [[100.0, 0.0, 0.0]] * 3
    assert frames.scenes() == ["scene"]
