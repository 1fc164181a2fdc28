"""What is looked up all over a data set's large tables, as arrays: rows by token, by sample and by sensor."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kd_perception.datasets.checks import check_tables, check_tokens
from kd_perception.datasets.json_rows import JsonRows, RowsByToken
from kd_perception.datasets.large_tables import LARGE, TokenIndex, read_large, rows_in_doubt
from kd_perception.datasets.row_types import UNKNOWN_POINTS, Columns, SmallNumbers

PLACES = ("start", "length", "hash", "order")


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
    check_tokens(small, folder)
    numbers = SmallNumbers.of(small)
    tables = read_large(folder, numbers)
    by_token = {name: TokenIndex(tables[name].pop("hash")) for name in LARGE}
    arrays = {f"{name}.{place}": tables[name].pop(place) for name in LARGE for place in ("start", "length")}
    for name, index in by_token.items():
        arrays |= {f"{name}.hash": index.hashes, f"{name}.order": index.order}
    large = large_rows(folder, arrays, {})
    doubt = {name: _Picked(large[name], rows) for name, rows in rows_in_doubt(tables, by_token, small).items()}
    check_tables({**small, **doubt}, {name: RowsByToken(rows) for name, rows in large.items()}, folder)
    arrays |= _of_sample_data(tables["sample_data"], large["sample_data"], small, numbers)
    arrays |= _of_annotations(tables, by_token["instance"], large, numbers)
    for table in ("sample_data", "sample_annotation"):
        arrays |= _by_sample(table, arrays[f"{table}.sample"], len(small["sample"]))
    arrays["sample_data.first"] = _first_of_scenes(arrays, small)
    arrays["sample_annotation.points"] = _camera_only(arrays, small)
    return arrays


class _Picked(Sequence[dict]):
    """Some of a table's rows, decoded when asked for."""

    def __init__(self, rows: JsonRows, numbers: np.ndarray) -> None:
        self._rows, self._numbers = rows, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, place: int) -> dict:
        return self._rows[int(self._numbers[place])]


def _of_sample_data(
    columns: Columns, rows: JsonRows, small: Mapping[str, Sequence[dict]], numbers: SmallNumbers
) -> dict[str, np.ndarray]:
    sensors = {row["token"]: number for number, row in enumerate(small["sensor"])}
    sensor_of = np.array([sensors[row["sensor_token"]] for row in small["calibrated_sensor"]], np.int16)
    for number, row in _odd(columns, rows):
        columns["sample"][number] = numbers.sample.get(row["sample_token"], -1)
        columns["calibration"][number] = numbers.calibrated_sensor[row["calibrated_sensor_token"]]
        columns["stamp"][number], columns["key"][number] = row["timestamp"], row["is_key_frame"]
    found = {name: columns[name] for name in ("sample", "stamp", "key")} | {"sensor": sensor_of[columns["calibration"]]}
    return {f"sample_data.{name}": array for name, array in found.items()}


def _of_annotations(
    tables: Mapping[str, Columns], instances: TokenIndex, large: Mapping[str, JsonRows], numbers: SmallNumbers
) -> dict[str, np.ndarray]:
    columns, category_of = tables["sample_annotation"], tables["instance"]["category"]
    for number, row in _odd(tables["instance"], large["instance"]):
        category_of[number] = numbers.category[row["category_token"]]
    found = {"sample": columns["sample"], "points": columns["points"]}
    found["category"] = category_of[instances.find(columns["instance"])].astype(np.int16)
    for number, row in _odd(columns, large["sample_annotation"]):
        lidar, radar = row.get("num_lidar_pts"), row.get("num_radar_pts") or 0
        found["points"][number] = UNKNOWN_POINTS if lidar is None else lidar + radar
        found["sample"][number] = numbers.sample[row["sample_token"]]
        found["category"][number] = category_of[large["instance"].number(row["instance_token"])]
    return {f"sample_annotation.{name}": array for name, array in found.items()}


def _odd(columns: Columns, rows: JsonRows) -> Iterator[tuple[int, dict]]:
    """Numbers and rows that are not of their table's type, so that columns do not have them yet."""
    return ((int(number), rows[int(number)]) for number in np.flatnonzero(columns["odd"]))


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
