"""kd compare counts what files find, miss and invent as the metric matches, and draws them side by side."""

import numpy as np
import pytest
from support.nuscenes_tables import VERSION, write_dataset
from typer.testing import CliRunner

from kd_perception.cli import app
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.comparison import Tally, check_foreign, common_samples, counted_ground_truth
from kd_perception.evaluation.metric import counted
from kd_perception.evaluation.results import sample_result, write_results
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.matching import match
from kd_perception.images.decoding import decode_image


def boxes_at(*places: tuple[float, float], names: tuple[str, ...] = (), scores: tuple[float, ...] = ()) -> Boxes:
    count = len(places)
    labels = [CLASSES.index(name) for name in names or ("car",) * count]
    return Boxes(
        np.array([(x, y, 0.0) for x, y in places]).reshape(count, 3),
        np.ones((count, 3)),
        np.zeros(count),
        np.zeros((count, 2)),
        np.array(labels, np.int64),
        np.array(scores or (1.0,) * count),
    )


def test_the_best_score_takes_the_nearest_free_box_of_its_class() -> None:
    ground_truth = boxes_at((0, 0), (1.5, 0), (10, 0), (20, 0), names=("car", "car", "car", "bus"))
    detections = boxes_at((0.1, 0), (0.2, 0), (12.1, 0), (20, 0), (0.3, 0), scores=(0.5, 0.9, 0.8, 0.7, 0.4))
    matched = match(detections, ground_truth)
    assert matched.found.tolist() == [True, True, False, False]  # 12.1 is too far, and a car is no bus
    assert matched.hits.tolist() == [True, True, False, False, False]  # the last one came when both were taken
    assert match(boxes_at(), ground_truth).found.sum() == 0 and match(detections, boxes_at()).hits.sum() == 0


def test_the_threshold_at_a_recall() -> None:
    tally = Tally("night", np.array([0.3, 0.9, 0.5, 0.7]), np.array([True, True, False, True]), ground_truths=4)
    assert (tally.found(0.5), tally.false(0.5)) == (2, 1)
    assert [tally.score_at(recall) for recall in (0.1, 0.25, 0.5, 0.51, 0.75)] == [0.9, 0.9, 0.7, 0.3, 0.3]
    with pytest.raises(ConfigError, match=r"--recall 0.8 is more than night finds \(3 of 4 boxes\)"):
        tally.score_at(0.8)


def test_only_the_metrics_ranges_count() -> None:
    boxes = boxes_at((45, 0), (45, 0), (0, 35), (0, 35), names=("car", "bicycle", "pedestrian", "barrier"))
    assert counted(boxes).label.tolist() == [CLASSES.index("car"), CLASSES.index("pedestrian")]


def write_files(root, tmp_path) -> tuple[list[str], int]:
    """Results of a detector that sees all, and of one that sees the first box of each sample only; what there is."""
    nusc = open_nuscenes(root, VERSION)
    full, poor, total = {}, {}, 0
    for token in scene_samples(nusc, scene_names(nusc)[0]):
        frame = load_frame(nusc, token)
        ground_truth = counted_ground_truth(nusc, token, frame.global_from_ego)
        total += len(ground_truth)
        for results, boxes in ((full, ground_truth), (poor, ground_truth[:1])):
            results[token] = sample_result(token, boxes, frame.global_from_ego)
    write_results(tmp_path / "full.json", full)
    write_results(tmp_path / "poor.json", poor)
    return [f"{name}={tmp_path / name}.json" for name in ("poor", "full")], total


def test_files_are_counted_and_drawn_side_by_side(tmp_path) -> None:
    root = write_dataset(tmp_path / "data")
    files, total = write_files(root, tmp_path)
    where = ["--dataroot", str(root), "--version", VERSION, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["compare", *files, *where, "--frames", "2"], catch_exceptions=False)
    rows = {line.split("\u2502")[1].strip(): line for line in result.output.splitlines() if line.count("\u2502") == 6}
    counts = {name: [int(cell) for cell in line.split("\u2502")[3:6]] for name, line in rows.items()}
    assert counts == {"poor": [3, total - 3, 0], "full": [total, 0, 0]}
    half = CliRunner().invoke(app, ["compare", *files[1:], *where, "--frames", "0", "--recall", "0.5"])
    assert "1.000" in half.output  # the score of all that the full one says
    absent = CliRunner().invoke(app, ["compare", *files, *where, "--anchor", "roof"])
    assert "no scene has the camera 'roof' that is to be the anchor" in str(absent.exception)
    pictures = sorted((tmp_path / "out").iterdir())
    assert len(pictures) == 2
    assert decode_image(pictures[0].read_bytes(), "picture").shape[1] == 1920


def test_files_of_different_samples_are_refused(tmp_path) -> None:
    with pytest.raises(DataError, match="result files a, b have no sample in common"):
        common_samples({"a": {"x": []}, "b": {"y": []}})


def test_files_of_another_data_set_or_class_list_are_named(tmp_path) -> None:
    nusc = open_nuscenes(write_dataset(tmp_path / "data", samples=1, sweeps=False), VERSION)
    token = nusc.sample[0]["token"]
    with pytest.raises(DataError, match=r"1 of 2 samples of theirs are not in .*painted, the first is other; give"):
        check_foreign(nusc, {"ours": {token: []}, "theirs": {token: [], "other": []}}, NUSCENES)
    with pytest.raises(DataError, match="theirs has boxes of tram, but the classes are car, .* with --classes"):
        check_foreign(nusc, {"theirs": {token: [{"detection_name": "tram"}]}}, NUSCENES)
