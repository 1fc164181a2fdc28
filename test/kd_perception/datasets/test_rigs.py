"""Rigs from the tables: other names and numbers of cameras and LiDARs, several rigs in one set, missing exposures."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.nuscenes_tables import (
    SCENES,
    THINGS,
    VERSION,
    PaintedRig,
    clockwise_rig,
    four_and_seven,
    painted_rig,
    without_rows,
    write_dataset,
)

from kd_perception.datasets.nuscenes import ground_truth_boxes, load_frame, open_nuscenes, scene_samples
from kd_perception.datasets.rigs import check_anchor
from kd_perception.datasets.timeline import camera_timelines
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.ground_truth import ground_truth_results
from kd_perception.evaluation.metric import evaluate_results
from kd_perception.evaluation.results import write_results


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene of four cameras and two LiDARs, and one of seven and one."""
    return write_dataset(tmp_path_factory.mktemp("mixed"), rigs=four_and_seven())


@pytest.fixture
def tables(mixed: Path, tmp_path: Path) -> Path:
    """The same tables, to change; files stay where they are."""
    shutil.copytree(mixed / VERSION, tmp_path / VERSION)
    return tmp_path


def rename(root: Path, names: dict[str, str]) -> Path:
    """Give sensors other channel names."""
    path = root / VERSION / "sensor.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([row | {"channel": names.get(row["channel"], row["channel"])} for row in rows]))
    return root


def names(frame) -> list[str]:
    return [image.camera.name for image in frame.images]


def test_each_scene_has_its_own_rig_ahead_first_then_clockwise(mixed: Path):
    nusc = open_nuscenes(mixed, VERSION)
    first, second = (load_frame(nusc, scene_samples(nusc, scene)[0]) for scene in SCENES)
    assert names(first) == ["front", "right", "rear", "left"] and names(second) == [f"cam{i}" for i in range(7)]
    assert first.timestamp_us == first.images[0].timestamp_us and not first.masked
    assert [rig.lidars for rig in nusc.rigs.values()] == [("lidar_left", "lidar_right"), ("roof",)]


def test_the_anchor_is_chosen_where_a_scene_has_it(mixed: Path):
    nusc = open_nuscenes(mixed, VERSION, "rear")
    first, second = (load_frame(nusc, scene_samples(nusc, scene)[0]) for scene in SCENES)
    assert names(first) == ["rear", "left", "front", "right"] and names(second)[0] == "cam0"
    assert first.timestamp_us == first.images[0].timestamp_us
    check_anchor("rear", [nusc])
    with pytest.raises(ConfigError, match=r"no scene has the camera 'front_left'.*one of cam0, .*, rear, right"):
        check_anchor("front_left", [nusc])


def test_nuscenes_anchor_counts_before_the_camera_that_looks_ahead(tables: Path):
    nusc = open_nuscenes(rename(tables, {"left": "CAM_FRONT"}), VERSION)
    assert names(load_frame(nusc, scene_samples(nusc, SCENES[0])[0])) == ["CAM_FRONT", "front", "right", "rear"]


def test_a_lone_camera_that_looks_aside_is_an_anchor(tables: Path):
    nusc = open_nuscenes(without_rows(tables, "/front/", "/rear/", "/left/"), VERSION)
    assert names(load_frame(nusc, scene_samples(nusc, SCENES[0])[0])) == ["right"]


def test_a_camera_that_a_keyframe_lacks_is_masked_in_it_and_in_its_moment(tables: Path):
    gone = f"{SCENES[0]}__right__"
    rows = json.loads((tables / VERSION / "sample_data.json").read_text())
    first = next(row for row in rows if gone in row["filename"] and row["is_key_frame"])
    nusc = open_nuscenes(without_rows(tables, first["filename"]), VERSION)
    tokens = scene_samples(nusc, SCENES[0])
    frame = load_frame(nusc, tokens[0])
    assert names(frame) == ["front", "right", "rear", "left"] and frame.masked == ("right",)
    masked, whole = frame.images[1], load_frame(nusc, tokens[1]).images[1]
    assert masked.path is None and masked.read() is None and masked.timestamp_us == frame.timestamp_us
    assert masked.camera.same_calibration(whole.camera)
    moments = camera_timelines(nusc, [SCENES[0]])[SCENES[0]]
    assert moments.frame(0).masked == ("right",) and not moments.frame(1).masked and len(moments) == 5


def test_a_keyframe_without_the_anchor_takes_its_time_from_the_next_camera(tables: Path):
    rows = json.loads((tables / VERSION / "sample_data.json").read_text())
    gone = [row["filename"] for row in rows if f"{SCENES[0]}__front__" in row["filename"] and row["is_key_frame"]]
    nusc = open_nuscenes(without_rows(tables, gone[1]), VERSION)
    tokens = scene_samples(nusc, SCENES[0])
    frame = load_frame(nusc, tokens[1])
    assert frame.masked == ("front",) and frame.timestamp_us == frame.images[1].timestamp_us
    moments = camera_timelines(nusc, [SCENES[0]])[SCENES[0]]
    assert [moments.frame(i).sample_token for i in np.flatnonzero(moments.is_keyframe)] == tokens
    assert np.all(np.diff(moments.stamps_us) > 0)


def test_a_keyframe_without_any_camera_takes_the_lidar_s_time(tables: Path):
    rows = json.loads((tables / VERSION / "sample_data.json").read_text())
    token = rows[0]["sample_token"]
    gone = [row["filename"] for row in rows if row["sample_token"] == token and row["is_key_frame"]]
    nusc = open_nuscenes(without_rows(tables, *(name for name in gone if "lidar" not in name)), VERSION)
    frame = load_frame(nusc, token)
    assert len(frame.masked) == 4
    assert frame.timestamp_us == nusc.rig_of(token).lidar_rows(nusc, token)[0]["timestamp"]
    nusc = open_nuscenes(without_rows(tables, *gone), VERSION)
    with pytest.raises(DataError, match=f"sample {token} of scene '{SCENES[0]}' has no row of a camera or LiDAR"):
        load_frame(nusc, token)


def test_more_than_twelve_cameras_are_refused_by_name(tmp_path: Path):
    rig = PaintedRig(clockwise_rig([f"c{number:02d}" for number in range(13)][:12]), {})
    root = write_dataset(tmp_path, samples=1, sweeps=False, rigs=dict.fromkeys(SCENES, rig))
    assert all(len(rig.cameras) == 12 for rig in open_nuscenes(root, VERSION).rigs.values())
    tables = {name: json.loads((root / VERSION / f"{name}.json").read_text()) for name in ("sensor", "sample_data")}
    calibrations = json.loads((root / VERSION / "calibrated_sensor.json").read_text())
    tables["sensor"].append({"token": "more", "channel": "c12", "modality": "camera"})
    more = calibrations[0] | {"token": "more", "sensor_token": "more"}
    tables["sample_data"].append(tables["sample_data"][0] | {"token": "more", "calibrated_sensor_token": "more"})
    for name, rows in (tables | {"calibrated_sensor": [*calibrations, more]}).items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=f"scene '{SCENES[0]}' has 13 cameras, at most 12 .*c00, .*c12"):
        open_nuscenes(root, VERSION)


def test_names_do_not_change_the_metric(tmp_path: Path):
    """LIDAR_TOP and CAM_FRONT under other names: the same boxes in the same ranges, digit for digit."""
    root = write_dataset(tmp_path)
    scores = []
    for other in ({}, {"LIDAR_TOP": "velodyne", **{name: f"eye_{i}" for i, name in enumerate(painted_rig())}}):
        nusc = open_nuscenes(rename(root, other), VERSION)
        write_results(tmp_path / "results.json", ground_truth_results(nusc, SCENES))
        scores.append(evaluate_results(nusc, tmp_path / "results.json").summary)
    first, second = ({key: value for key, value in score.items() if key != "eval_time"} for score in scores)
    assert first == second and first["mean_ap"] > 0.3


def test_without_lidar_all_boxes_count_and_ranges_begin_at_the_ego(tables: Path, tmp_path: Path):
    """A camera-only recording has no counts of points: the metric would drop every box."""
    path = tables / VERSION / "sample_annotation.json"
    for counts in ({"num_lidar_pts": 0, "num_radar_pts": 0}, {"num_lidar_pts": None}):
        rows = [row | counts for row in json.loads(path.read_text())]
        path.write_text(json.dumps(rows))
        nusc = open_nuscenes(without_rows(tables, "/lidar_", "/roof/"), VERSION)
        token = scene_samples(nusc, SCENES[0])[0]
        _, points = ground_truth_boxes(nusc, token, load_frame(nusc, token).global_from_ego)
        assert points.tolist() == [-1] * len(THINGS)
        results = ground_truth_results(nusc, SCENES)
        assert all(len(rows) == len(THINGS) for rows in results.values())
        write_results(tmp_path / "results.json", results)
        metrics = evaluate_results(nusc, tmp_path / "results.json")
        assert metrics.classes["truck"].ground_truths == 12 and metrics.classes["truck"].ap > 0.99


def test_counts_stand_where_a_sample_lacks_its_lidar_but_was_measured(tables: Path):
    nusc = open_nuscenes(without_rows(tables, "/lidar_"), VERSION)
    token = scene_samples(nusc, SCENES[0])[0]
    _, points = ground_truth_boxes(nusc, token, load_frame(nusc, token).global_from_ego)
    assert points.tolist() == [thing.points for thing in THINGS]
