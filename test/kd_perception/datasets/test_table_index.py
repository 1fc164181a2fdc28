"""The index of large tables: odd but valid rows give what plain ones give, and one wrong row is found."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.nuscenes_tables import VERSION, four_and_seven, write_dataset

from kd_perception.datasets import row_blocks
from kd_perception.datasets.large_tables import LARGE
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.errors import DataError

Edit = Callable[[dict], dict]
ODD: dict[str, Edit] = {
    "inner objects": lambda row: row | {"extra": {"a": [{}]}},
    "not a number where nobody looks": lambda row: row | {"extra": float("nan")},
    "braces and quotes": lambda row: row | {"extra": '}, {"token": "x"'},
    "keys the other way round": lambda row: dict(reversed(row.items())),
    "stamps with a fraction": lambda row: row | ({"timestamp": row["timestamp"] + 0.25} if "timestamp" in row else {}),
    "whole numbers": lambda row: row | ({"size": [4, 2, 1], "num_radar_pts": None} if "size" in row else {}),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"), rigs=four_and_seven())


def index_of(root: Path) -> dict[str, np.ndarray]:
    """The index without the places in the file."""
    arrays = open_nuscenes(root, VERSION).index
    return {name: array for name, array in arrays.items() if not name.endswith((".start", ".length"))}


def written_anew(root: Path, target: Path, edit: Edit, every: int) -> Path:
    """The data set with one in so many rows of the large tables edited."""
    (target / VERSION).mkdir(parents=True)
    for path in (root / VERSION).glob("*.json"):
        rows = json.loads(path.read_text())
        if path.stem in LARGE:
            rows = [row if number % every else edit(row) for number, row in enumerate(rows)]
        (target / VERSION / path.name).write_text(json.dumps(rows))
    return target


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("every", [1, 7])
def test_odd_rows_are_in_the_index_like_plain_ones(root: Path, tmp_path: Path, monkeypatch, what: str, every: int):
    monkeypatch.setattr(row_blocks, "CHUNK", 3000)
    wanted, found = index_of(root), index_of(written_anew(root, tmp_path / "data", ODD[what], every))
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert np.array_equal(found[name], array) and found[name].dtype == array.dtype, name


WRONG = {
    "a token twice": ("ego_pose", lambda rows: [*rows, rows[3]], "ego_pose.json, row .*another row has the same token"),
    "an exposure out of time": ("sample_data", lambda rows: put(rows, timestamp=1), "timestamp 1 is far from"),
    "a pose that is not there": ("sample_data", lambda rows: put(rows, ego_pose_token="f" * 32), "its ego_pose_token"),
    "a sensor that is not there": ("sample_data", lambda rows: put(rows, calibrated_sensor_token=""), "calibrated_sen"),
    "no height": ("sample_data", lambda rows: [rows[0] | {"height": 0}, *rows[1:]], "no size of a picture"),
    "an object of nothing": ("sample_annotation", lambda rows: put(rows, instance_token="0" * 32), "instance_token"),
    "a row before that is gone": ("sample_annotation", lambda rows: put(rows, prev="0" * 32), "its prev '0+' is not"),
    "itself as its next": ("sample_annotation", lambda rows: put(rows, next=rows[-1]["token"]), "next is not later"),
}  # fmt: skip


def put(rows: list[dict], **values: object) -> list[dict]:
    return [*rows[:-1], rows[-1] | values]


@pytest.mark.parametrize("what", WRONG)
def test_one_wrong_row_is_found_by_columns_alone(root: Path, tmp_path: Path, what: str):
    table, edit, sentence = WRONG[what]
    data = written_anew(root, tmp_path / "data", lambda row: row, every=1)
    path = data / VERSION / f"{table}.json"
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    with pytest.raises(DataError, match=sentence):
        open_nuscenes(data, VERSION)
