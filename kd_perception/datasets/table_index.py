"""What is looked up all over a data set's large tables, as arrays: rows by token, by sample and by sensor."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kd_perception.datasets.checks import check_tables
from kd_perception.datasets.json_rows import JsonRows, find_rows

LARGE = ("instance", "ego_pose", "sample_data", "sample_annotation")  # tables that are not held in memory
PLACES = ("start", "length", "hash", "order")
UNKNOWN_POINTS = -1  # what the devkit takes for "not counted": its filter keeps such boxes


def large_rows(
    folder: Path, arrays: Mapping[str, np.ndarray], complete: Mapping[str, Callable[[int, dict], dict]]
) -> dict[str, JsonRows]:
    """The large tables of a folder by name; `complete` by name, as JsonRows takes it."""
    return {
        table: JsonRows(
            folder / f"{table}.json", {name: arrays[f"{table}.{name}"] for name in PLACES}, complete.get(table)
        )
        for table in LARGE
    }


def build_index(folder: Path, small: Mapping[str, Sequence[dict]]) -> dict[str, np.ndarray]:
    """Arrays by 'table.column' of the large tables; `small` are the others, by name.

    Every table has the places of JsonRows. sample_data and sample_annotation: sample (n,), -1 of an unknown one;
    by_sample (n,), row numbers ordered by it, and sample_start (samples + 1,), where each sample's begin there.
    sample_data: sensor (n,), stamp (n,) in microseconds, key (n,) bool, and first (k,), each scene's first row of each
    sensor. sample_annotation: category (n,), points (n,) of LiDAR and RADAR, UNKNOWN_POINTS where nobody counted.
    Raises DataError as check_tables, OSError for a table that is missing, ValueError for a file that is none.
    """
    arrays = {
        f"{table}.{name}": array for table in LARGE for name, array in find_rows(folder / f"{table}.json").items()
    }
    large = large_rows(folder, arrays, {})
    check_tables({**small, **large}, folder)
    number = {name: {row["token"]: place for place, row in enumerate(small[name])} for name in small}
    arrays |= _of_sample_data(large["sample_data"], small, number)
    arrays |= _of_annotations(large, number)
    for table in ("sample_data", "sample_annotation"):
        arrays |= _by_sample(table, arrays[f"{table}.sample"], len(small["sample"]))
    arrays["sample_data.first"] = _first_of_scenes(arrays, small)
    arrays["sample_annotation.points"] = _camera_only(arrays, small)
    return arrays


def _of_sample_data(
    rows: JsonRows, small: Mapping[str, Sequence[dict]], number: Mapping[str, Mapping[str, int]]
) -> dict[str, np.ndarray]:
    sensor_of = {row["token"]: number["sensor"][row["sensor_token"]] for row in small["calibrated_sensor"]}
    found = np.empty(len(rows), [("sample", np.int32), ("sensor", np.int16), ("stamp", np.int64), ("key", bool)])
    for place, row in enumerate(rows):
        sample = number["sample"].get(row["sample_token"], -1)
        found[place] = sample, sensor_of[row["calibrated_sensor_token"]], row["timestamp"], row["is_key_frame"]
    return {f"sample_data.{name}": np.ascontiguousarray(found[name]) for name in found.dtype.names}


def _of_annotations(large: Mapping[str, JsonRows], number: Mapping[str, Mapping[str, int]]) -> dict[str, np.ndarray]:
    category_of = {row["token"]: number["category"][row["category_token"]] for row in large["instance"]}
    rows = large["sample_annotation"]
    found = np.empty(len(rows), [("sample", np.int32), ("category", np.int16), ("points", np.int32)])
    for place, row in enumerate(rows):
        lidar, radar = row.get("num_lidar_pts"), row.get("num_radar_pts") or 0
        points = UNKNOWN_POINTS if lidar is None else lidar + radar
        found[place] = number["sample"][row["sample_token"]], category_of[row["instance_token"]], points
    return {f"sample_annotation.{name}": np.ascontiguousarray(found[name]) for name in found.dtype.names}


def _by_sample(table: str, sample: np.ndarray, samples: int) -> dict[str, np.ndarray]:
    order = np.argsort(sample, kind="stable")
    starts = np.searchsorted(sample[order], np.arange(samples + 1))
    return {f"{table}.by_sample": order.astype(np.int32), f"{table}.sample_start": starts.astype(np.int64)}


def _first_of_scenes(arrays: Mapping[str, np.ndarray], small: Mapping[str, Sequence[dict]]) -> np.ndarray:
    numbers = {row["token"]: number for number, row in enumerate(small["scene"])}
    scene_of = np.array([numbers[row["scene_token"]] for row in small["sample"]], np.int64)
    rows = np.flatnonzero(arrays["sample_data.sample"] >= 0)
    scene = scene_of[arrays["sample_data.sample"][rows]]
    _, first = np.unique(scene * len(small["sensor"]) + arrays["sample_data.sensor"][rows], return_index=True)
    return np.sort(rows[first]).astype(np.int32)


def _camera_only(arrays: Mapping[str, np.ndarray], small: Mapping[str, Sequence[dict]]) -> np.ndarray:
    """Points of annotations, unknown where nothing measured.

    Nothing measured where a sample has neither LiDAR nor RADAR and no annotation of it has a point. The metric would
    drop every box there.
    """
    samples, points = len(small["sample"]), arrays["sample_annotation.points"]
    is_camera = np.array([row["modality"] == "camera" for row in small["sensor"]], bool)
    measures = arrays["sample_data.key"] & ~is_camera[arrays["sample_data.sensor"]]
    of, data = arrays["sample_annotation.sample"], arrays["sample_data.sample"]
    measured = np.bincount(data[measures], minlength=samples) + np.bincount(of[points != 0], minlength=samples)
    return np.where(measured[of] > 0, points, np.int32(UNKNOWN_POINTS))
