"""Samples with results become frames, and an evaluation's recording for Foxglove stays small."""

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from support.nuscenes_tables import SCENES, VERSION, four_and_seven, without_rows, write_dataset

from kd_perception.datasets.nuscenes import open_nuscenes, scene_samples
from kd_perception.errors import DataError
from kd_perception.evaluation import viewed
from kd_perception.evaluation.ground_truth import ground_truth_results
from kd_perception.evaluation.viewed import add_results, check_tokens, view_sample, write_foxglove
from kd_perception.recordings.viewed_frame import FaultKind


@pytest.fixture(scope="module")
def nusc(tmp_path_factory):
    return open_nuscenes(write_dataset(tmp_path_factory.mktemp("painted")), VERSION)


@pytest.fixture(scope="module")
def results(nusc):
    """The ground truth as results, but of each sample the first box is missing, and the second one's score is low."""
    found = ground_truth_results(nusc, SCENES[:1])
    for rows in found.values():
        del rows[0]
        rows[0]["detection_score"] = 0.2
    return found


def test_a_sample_is_shown_with_its_sensors_and_what_was_missed(nusc, results) -> None:
    token = scene_samples(nusc, SCENES[0])[1]
    frame = add_results(nusc, view_sample(nusc, token), results)
    assert (len(frame.images), len(frame.cloud), len(frame.ground_truth)) == (6, 500, 6)  # of 7, one has no points
    assert len(frame.predictions) == 4 and (frame.predictions.score >= 0.25).all()
    gone, weak = (fault.reason for fault in frame.faults_of(FaultKind.MISSED))
    assert "a score of 0.20, below the threshold" in weak and "7 LiDAR and RADAR points" in gone
    assert not list(frame.faults_of(FaultKind.FALSE))
    np.testing.assert_allclose(np.sort(frame.right(FaultKind.MISSED).center), np.sort(frame.predictions.center))


def test_an_absent_picture_is_left_out_and_named(nusc, tmp_path) -> None:
    damaged = open_nuscenes(write_dataset(tmp_path / "data"), VERSION)
    gone = sorted((tmp_path / "data" / "samples" / "CAM_BACK").iterdir())[0]
    gone.unlink()
    token = next(row["sample_token"] for row in damaged.sample_data if row["filename"].endswith(gone.name))
    frame = view_sample(damaged, token)
    (problem,) = frame.problems
    assert len(frame.images) == 5 and problem.startswith(f"image {gone} is missing") and "left out" in problem


def test_a_masked_camera_is_named_and_sees_nothing(tmp_path) -> None:
    """Without LiDAR, too: whatever is annotated counts, by an unknown number of points."""
    data = write_dataset(tmp_path / "data", rigs=four_and_seven())
    gone = sorted((data / "samples" / "right").glob(f"{SCENES[0]}*"))[0]
    annotations = data / VERSION / "sample_annotation.json"
    annotations.write_text(annotations.read_text().replace('"num_lidar_pts": 7', '"num_lidar_pts": 0'))
    nusc = open_nuscenes(without_rows(data, gone.name, "/lidar_"), VERSION)
    token = scene_samples(nusc, SCENES[0])[0]
    frame = add_results(nusc, view_sample(nusc, token), {token: []})
    assert [image.camera.name for image in frame.images] == ["front", "rear", "left"] and frame.cloud is None
    assert frame.problems == ("camera right has no image of this moment in the tables",)
    reasons = [fault.reason for fault in frame.faults_of(FaultKind.MISSED)]
    assert len(reasons) == 7 and all("an unknown number of LiDAR and RADAR points" in reason for reason in reasons)
    assert not any("right" in reason for reason in reasons)


def test_only_the_first_samples_are_recorded_with_their_sensors(nusc, results, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(viewed, "MOST_PICTURED", 1)
    write_foxglove(tmp_path / "a.mcap", nusc, results)
    with open(tmp_path / "a.mcap", "rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()])
        topics = [(channel.topic, decoded) for _, channel, _, decoded in reader.iter_decoded_messages()]
    counts = {topic: sum(name == topic for name, _ in topics) for topic, _ in topics}
    assert counts["/CAM_BACK/image"] == counts["/lidar/points"] == 1
    assert counts["/tf"] == counts["/predictions"] == counts["/faults"] == len(results) == 3
    assert [len(update.entities) for topic, update in topics if topic == "/predictions"] == [4, 4, 4]


def test_results_of_another_data_set_are_refused(nusc, results, tmp_path) -> None:
    check_tokens(nusc, results, tmp_path)
    with pytest.raises(DataError, match="is the result of another data set: 1 of its 4 samples, the first elsewhere,"):
        check_tokens(nusc, {**results, "elsewhere": []}, tmp_path / "r.json")
    with pytest.raises(DataError, match="r.json has no samples"):
        check_tokens(nusc, {}, tmp_path / "r.json")
