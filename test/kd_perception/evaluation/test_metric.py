"""The metric on tables whose scenes the devkit does not know, and, with real data, digit for digit the devkit's own."""

import json
from dataclasses import astuple

import pytest
from support.nuscenes_tables import SCENES, THINGS, VERSION, write_dataset
from support.real_data import REAL_DATA

from kd_perception.datasets.nuscenes import open_nuscenes, scene_names, scene_samples
from kd_perception.errors import DataError
from kd_perception.evaluation.any_classes import scored_samples
from kd_perception.evaluation.center_distance import score_samples
from kd_perception.evaluation.ground_truth import ground_truth_results
from kd_perception.evaluation.headings import HeadingErrors
from kd_perception.evaluation.metric import evaluate_results
from kd_perception.evaluation.result_folder import HEADING_ERRORS
from kd_perception.evaluation.results import read_results, write_results
from kd_perception.geometry.classes import NUSCENES


@pytest.fixture(scope="module")
def nusc(tmp_path_factory):  # noqa: ANN201
    return open_nuscenes(write_dataset(tmp_path_factory.mktemp("painted")), VERSION)


def test_ground_truth_as_submission_is_perfect_in_every_class_that_occurs(nusc, tmp_path) -> None:
    write_results(tmp_path / "r.json", ground_truth_results(nusc, SCENES))
    metrics = evaluate_results(nusc, tmp_path / "r.json", summary_path=tmp_path / "metrics_summary.json")
    occurring = {thing.class_name for thing in THINGS if thing.points}
    for name, row in metrics.classes.items():
        assert row.ap == pytest.approx(1.0 if name in occurring else 0.0), name
        assert (
            row.ground_truths
            == row.detections
            == 6 * sum(thing.class_name == name and thing.points > 0 for thing in THINGS)
        )
    assert metrics.mean_ap == pytest.approx(len(occurring) / 10)
    assert metrics.classes["car"].errors.orientation < 1e-4
    assert metrics.classes["car"].headings == HeadingErrors(pytest.approx(0.0, abs=1e-4), 0.0)
    written = json.loads((tmp_path / "metrics_summary.json").read_text())
    assert (
        written["mean_ap"] == metrics.mean_ap and written["nd_score"] == metrics.nds and written["meta"]["use_camera"]
    )
    assert written["label_heading_errors"]["car"]["turned"] == 0.0


def test_only_the_chosen_scene_counts(nusc, tmp_path) -> None:
    results = ground_truth_results(nusc, SCENES)
    for token in scene_samples(nusc, SCENES[1]):
        results[token] = []
    write_results(tmp_path / "r.json", results)
    assert evaluate_results(nusc, tmp_path / "r.json", [SCENES[0]]).classes["car"].ap == pytest.approx(1.0)
    assert evaluate_results(nusc, tmp_path / "r.json").classes["car"].ap == pytest.approx(
        0.45, abs=0.05
    )  # half of the recall


def test_no_detections_at_all_score_zero(nusc, tmp_path) -> None:
    write_results(tmp_path / "r.json", {token: [] for scene in SCENES for token in scene_samples(nusc, scene)})
    metrics = evaluate_results(nusc, tmp_path / "r.json")
    assert metrics.mean_ap == 0.0 and metrics.nds == 0.0
    assert metrics.classes["car"].ground_truths == 18


def test_a_sample_without_an_entry_is_named(nusc, tmp_path) -> None:
    results = ground_truth_results(nusc, SCENES)
    gone = scene_samples(nusc, SCENES[0])[1]
    del results[gone]
    write_results(tmp_path / "r.json", results)
    with pytest.raises(DataError, match=f"has 5 of 6 samples; the first missing is {gone}"):
        evaluate_results(nusc, tmp_path / "r.json")
    assert not (tmp_path / "metrics_summary.json").exists()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "split", "mean_ap", "nds"),
    [("nuscenes-minival-gt", "mini_val", 0.7, 0.7067), ("nuscenes-real", "mini_train", 0.5, 0.4319)],
)
def test_equals_the_devkit_on_official_splits(tmp_path, folder, split, mean_ap, nds) -> None:
    if not (REAL_DATA / folder).is_dir():
        pytest.skip(f"real nuScenes tables are not in {REAL_DATA / folder}; set KD_REAL_DATA")
    from nuscenes.eval.detection.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    nusc = open_nuscenes(REAL_DATA / folder, "v1.0-mini")
    write_results(tmp_path / "r.json", ground_truth_results(nusc, scene_names(nusc)))
    metrics = evaluate_results(nusc, tmp_path / "r.json", summary_path=tmp_path / "summary.json")
    assert metrics.mean_ap == pytest.approx(mean_ap, abs=5e-5)
    assert metrics.nds == pytest.approx(nds, abs=5e-5)
    official, _ = DetectionEval(
        nusc, config_factory("detection_cvpr_2019"), str(tmp_path / "r.json"), split, str(tmp_path), verbose=False
    ).evaluate()
    summary = {key: value for key, value in metrics.summary.items() if key != HEADING_ERRORS}
    expected = {**official.serialize(), "eval_time": None, "meta": None}
    assert json.dumps({**summary, "eval_time": None, "meta": None}, sort_keys=True) == json.dumps(
        expected, sort_keys=True
    )
    ours = score_samples(scored_samples(nusc, read_results(tmp_path / "r.json"), all_tokens(nusc), NUSCENES), NUSCENES)
    assert ours.mean_ap == pytest.approx(metrics.mean_ap, abs=1e-9)
    for name, score in ours.classes.items():
        theirs = metrics.classes[name]
        assert (score.ground_truths, score.detections) == (theirs.ground_truths, theirs.detections), name
        if split == "mini_val":  # the one keyframe has velocities of its own, which the devkit does not read
            assert astuple(score.errors) == pytest.approx(astuple(theirs.errors), abs=1e-9, nan_ok=True)


def all_tokens(nusc) -> list[str]:  # noqa: ANN001
    return [token for scene in scene_names(nusc) for token in scene_samples(nusc, scene)]


def test_a_box_that_the_devkit_refuses_becomes_one_sentence(nusc, tmp_path) -> None:
    results = ground_truth_results(nusc, SCENES)
    next(rows for rows in results.values() if rows)[0]["attribute_name"] = "flying"
    write_results(tmp_path / "r.json", results)
    with pytest.raises(DataError, match="nuscenes-devkit cannot use .*r.json"):
        evaluate_results(nusc, tmp_path / "r.json")
