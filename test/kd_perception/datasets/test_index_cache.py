"""The index of large tables is kept in a file, read by processes that start later, and made again when it must be."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from nuscenes import NuScenes
from support.nuscenes_tables import VERSION, four_and_seven, write_dataset

from kd_perception.datasets import index_cache, json_rows
from kd_perception.datasets.index_cache import FOLDER, indexed, read_arrays, write_arrays
from kd_perception.datasets.nuscenes import open_nuscenes

ARRAYS = {"a": np.arange(7, dtype=np.int16), "b": np.zeros(0, np.int64), "c": np.arange(6.0).reshape(2, 3)}


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(index_cache, "KEPT_ABOVE", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "sample.json").write_text("[]")
    return folder


class Build:
    """Counts how often the index is made."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.times += 1
        return ARRAYS


def equal(arrays) -> bool:
    return list(arrays) == list(ARRAYS) and all(
        np.array_equal(arrays[name], value) and arrays[name].dtype == value.dtype for name, value in ARRAYS.items()
    )


def test_an_index_is_made_once_and_anew_for_other_tables(tables: Path):
    build = Build()
    assert equal(indexed(tables, build)) and equal(indexed(tables, build)) and build.times == 1
    (tables / "sample.json").write_text("[ ]")
    assert equal(indexed(tables, build)) and build.times == 2
    os.utime(tables / "sample.json", ns=(1, 1))
    assert equal(indexed(tables, build)) and build.times == 3
    assert len(list((tables / FOLDER).glob("*.index"))) == 1  # of the tables as they are


@pytest.mark.parametrize("damage", [lambda data: data[:-70], lambda data: data[:-65] + b"\x07" + data[-64:], bytes])
def test_a_damaged_index_is_made_again(tables: Path, damage):
    build = Build()
    indexed(tables, build)
    (path,) = (tables / FOLDER).glob("*.index")
    data = path.read_bytes()
    path.write_bytes(b"" if damage is bytes else damage(data))
    assert equal(indexed(tables, build)) and build.times == 2 and path.read_bytes() == data


def test_a_folder_that_cannot_be_written_has_its_index_in_the_users_cache(tables: Path, tmp_path: Path):
    (tables / FOLDER).write_text("a file where the folder should be, as root may write everywhere")
    build = Build()
    assert equal(indexed(tables, build)) and equal(indexed(tables, build)) and build.times == 1
    assert len(list((tmp_path / "home").rglob("*.index"))) == 1
    (tmp_path / "home").rename(tmp_path / "other")
    (tmp_path / "home").write_text("no folder either")
    assert equal(indexed(tables, build)) and build.times == 2


def test_those_that_start_together_wait_for_the_first(tables: Path):
    build, found = Build(), []
    threads = [threading.Thread(target=lambda: found.append(equal(indexed(tables, build)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4 and build.times == 1


def test_small_tables_leave_no_file(tables: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(index_cache, "KEPT_ABOVE", 1 << 26)
    assert equal(indexed(tables, Build())) and not (tables / FOLDER).exists()


def test_a_foreign_file_is_no_index(tmp_path: Path):
    write_arrays(tmp_path / "a.index", ARRAYS)
    assert equal(read_arrays(tmp_path / "a.index"))
    np.save(tmp_path / "b.index.npy", np.arange(3))
    assert read_arrays(tmp_path / "b.index.npy") is None and read_arrays(tmp_path / "absent") is None


def test_tables_from_a_kept_index_say_what_the_devkit_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = write_dataset(tmp_path, rigs=four_and_seven())
    monkeypatch.setattr(index_cache, "KEPT_ABOVE", 0)
    monkeypatch.setattr(json_rows, "KEPT_BYTES", 0)
    first, again = (open_nuscenes(root, VERSION) for _ in range(2))
    devkit = NuScenes(VERSION, str(root), verbose=False)
    assert first.rigs == again.rigs
    for table in ("scene", "calibrated_sensor", "ego_pose", "sample_data", "sample_annotation", "instance"):
        assert list(getattr(again, table)) == getattr(devkit, table), table
    for sample in devkit.sample:
        mine = again.get("sample", sample["token"])
        assert (mine["data"], mine["anns"]) == (sample["data"], sample["anns"])
    for row in devkit.sample_annotation:
        np.testing.assert_array_equal(again.box_velocity(row["token"]), devkit.box_velocity(row["token"]))
        assert again.getind("sample_annotation", row["token"]) == devkit.getind("sample_annotation", row["token"])
