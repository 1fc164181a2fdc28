"""Where no annotation counts, the cause is told."""

from pathlib import Path

import numpy as np
import pytest
from support.nuscenes_tables import SCENES, VERSION, write_dataset

from kd_perception.datasets.nothing_counts import grid_reach, metric_reach, why_nothing_counts
from kd_perception.datasets.nuscenes import open_nuscenes, scene_samples
from kd_perception.datasets.tables import Tables
from kd_perception.geometry.classes import NUSCENES
from kd_perception.geometry.grid import BevGrid

REACHES = {"metric": metric_reach(), "grid": grid_reach(BevGrid.square(51.2, 0.8))}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data"), sweeps=False)


@pytest.fixture
def nusc(root) -> Tables:
    """Tables whose annotations and samples can be changed in memory."""
    nusc = open_nuscenes(root, VERSION)
    nusc.sample_annotation = EditableRows(nusc.sample_annotation)
    return nusc


class EditableRows(list):
    """All rows of a table, which stay what they are made into."""

    def number(self, token: str) -> int:
        return next(number for number, row in enumerate(self) if row["token"] == token)

    def of_token(self, token: str) -> dict:
        return self[self.number(token)]

    def token(self, number: int) -> str:
        return self[number]["token"]


@pytest.fixture(params=REACHES)
def reason(request, nusc):
    samples = [token for scene in SCENES for token in scene_samples(nusc, scene)]
    return lambda: why_nothing_counts(nusc, samples, NUSCENES, REACHES[request.param])


def test_one_annotation_suffices(nusc, reason):
    for row in nusc.sample_annotation[1:]:
        row["num_lidar_pts"] = 0
    assert reason() == ""


def test_unknown_categories_stand_beside_the_wanted_ones(nusc, reason):
    for row in nusc.sample_annotation:
        row["category_name"] = {"vehicle.car": "Car", "vehicle.truck": "Lorry"}.get(row["category_name"], "Thing")
    assert "their categories are Car (18), Thing (12), Lorry (12), the class list knows " in reason()
    assert "vehicle.car" in reason() and "more; name theirs in `categories`" in reason()


def test_boxes_without_points(nusc, reason):
    for row in nusc.sample_annotation:
        row["num_lidar_pts"] = 0
    assert "num_lidar_pts and num_radar_pts of all 42 are 0" in reason()
    nusc.sample_annotation[3]["num_lidar_pts"] = -1  # nobody counted
    assert reason() == ""


def test_boxes_far_away(nusc, reason):
    for row in nusc.sample_annotation:
        row["translation"][0] += 5000.0
    assert "none of 36 is " in reason() and " m away; check that translation" in reason()


def test_no_annotations_at_all(nusc, reason, monkeypatch):
    monkeypatch.setattr(nusc, "sample_rows", lambda table, sample_token: np.zeros(0, np.int64))
    assert "they have none in sample_annotation.json" in reason()
