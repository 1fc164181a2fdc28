"""What is wrong with nuScenes-format tables, in a sentence that names file and row, before anything is done with them.

Checked is what is read here or by nuscenes-devkit: unchecked, a row that is missing or makes no sense ends in a
traceback or, worse, in velocities of millions.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kd_perception.datasets.json_rows import RowsByToken
from kd_perception.errors import DataError

Rows = Sequence[dict]

LINKS = (  # (table, key, table that has it)
    ("sample", "scene_token", "scene"),
    ("scene", "first_sample_token", "sample"),
    ("calibrated_sensor", "sensor_token", "sensor"),
    ("sample_data", "calibrated_sensor_token", "calibrated_sensor"),
    ("sample_annotation", "sample_token", "sample"),
    ("sample_annotation", "instance_token", "instance"),
    ("instance", "category_token", "category"),
)
SHORTEST_US, LONGEST_US = 1e3, 3e7  # between keyframes; outside, stamps are in other units
SMALLEST = 1e-6  # of a quaternion's largest part: below, it is no rotation
LATEST_US = 1e17  # the year 5138; later stamps are in nanoseconds


def check_tables(tables: Mapping[str, Rows], large: Mapping[str, RowsByToken], folder: Path) -> None:
    """Raise DataError for the first thing that is wrong with tables as their JSON files have them.

    Every row of `tables` is looked at; of the `large` ones by name, all rows, `tables` has those in doubt.
    """
    check_tokens(tables, folder)
    by_token = {name: {row["token"]: row for row in rows} for name, rows in tables.items()} | dict(large)
    for name, key, target in LINKS:
        for row in tables[name]:
            if row.get(key) not in by_token[target]:
                what = f"its {key} '{row.get(key)}' is not in {target}.json"
                raise _fault(folder, name, row, what, "restore that row")
    _check_scenes(tables["scene"], folder)
    _check_chains(tables, by_token["sample"], folder)
    _check_sensors(tables, by_token, folder)
    _check_annotations(tables["sample_annotation"], by_token, folder)


def check_tokens(tables: Mapping[str, Rows], folder: Path) -> None:
    """Raise DataError for a table that is no list of rows, or a row without a token of its own."""
    for name, rows in tables.items():
        if isinstance(rows, str) or not (isinstance(rows, Sequence) and all(isinstance(row, dict) for row in rows)):
            raise DataError(f"{folder / name}.json is not a list of rows; restore it")
        seen = set()
        for row in rows:
            token = row.get("token")
            if not isinstance(token, str) or not token:
                raise _fault(folder, name, row, "its token is no text", "give every row a token of its own")
            if token in seen:
                raise _fault(folder, name, row, "another row has the same token", "give every row a token of its own")
            seen.add(token)


def _check_scenes(rows: Rows, folder: Path) -> None:
    """Names of scenes are chosen by users and become parts of file names."""
    names = set()
    for row in rows:
        name = row.get("name")
        if not isinstance(name, str) or not name.strip(". ") or not name.isprintable() or set(name) & set("/\\"):
            raise _fault(folder, "scene", row, f"its name {name!r} cannot be part of a file's name", "rename it")
        if name in names:
            raise _fault(folder, "scene", row, f"another scene has the name '{name}', too", "rename one of them")
        names.add(name)


def _check_chains(tables: Mapping[str, Rows], samples: Mapping[str, dict], folder: Path) -> None:
    """Each scene's samples are one chain from its first to the end, in rising time, in microseconds."""
    members: dict[str, int] = {}
    for row in tables["sample"]:
        members[row["scene_token"]] = members.get(row["scene_token"], 0) + 1
        _check_stamp(folder, "sample", row)
    for scene in tables["scene"]:
        chain = list(_chain(scene, samples, folder))
        if len(chain) != members.get(scene["token"], 0):
            raise _fault(
                folder, "scene", scene,
                f"from its first_sample_token, 'next' leads to {len(chain)} of its {members.get(scene['token'], 0)} "
                "samples", "correct first_sample_token and the samples' next",
            )  # fmt: skip
        gaps = np.diff([row["timestamp"] for row in chain])
        if len(gaps) and not SHORTEST_US <= np.median(gaps) <= LONGEST_US:
            raise _fault(
                folder, "scene", scene,
                f"its keyframes are {np.median(gaps):g} apart, which is not microseconds",
                "write all timestamps in microseconds",
            )  # fmt: skip


def _chain(scene: dict, samples: Mapping[str, dict], folder: Path) -> Iterator[dict]:
    seen, token, last = set(), scene["first_sample_token"], -math.inf
    while token:
        if token in seen or token not in samples:
            what = "comes back to itself" if token in seen else f"leads to '{token}', which is not in sample.json"
            raise _fault(folder, "scene", scene, f"the chain of its samples {what}", "correct the samples' next")
        row = samples[token]
        if row["scene_token"] != scene["token"]:
            raise _fault(folder, "sample", row, f"the chain of scene '{scene['name']}' leads to it, but it belongs to "
                         "another", "correct first_sample_token, or the samples' next")  # fmt: skip
        if row["timestamp"] <= last:
            raise _fault(folder, "sample", row, "its timestamp is not later than the one before", "correct the order")
        seen.add(token)
        last, token = row["timestamp"], row.get("next")
        yield row


def _check_sensors(tables: Mapping[str, Rows], by_token: Mapping[str, Mapping[str, dict]], folder: Path) -> None:
    modality = {
        row["token"]: by_token["sensor"][row["sensor_token"]].get("modality") for row in tables["calibrated_sensor"]
    }
    for name in ("calibrated_sensor", "ego_pose"):
        for row in tables[name]:
            _check_pose(folder, name, row)
    for row in tables["calibrated_sensor"]:
        if modality[row["token"]] == "camera":
            if not _is_intrinsic(row.get("camera_intrinsic")):
                raise _fault(folder, "calibrated_sensor", row, "its camera_intrinsic is no 3x3 matrix with positive "
                             "focal lengths", "restore it")  # fmt: skip
    for row in tables["sample_data"]:
        kind = modality[row["calibrated_sensor_token"]]
        if kind not in ("camera", "lidar"):
            continue
        _check_stamp(folder, "sample_data", row)
        if row.get("is_key_frame"):
            sample = by_token["sample"].get(row.get("sample_token"))
            if sample is None:
                raise _fault(
                    folder, "sample_data", row, "it is a keyframe of no sample in sample.json", "restore that one"
                )
            if abs(row["timestamp"] - sample["timestamp"]) > LONGEST_US:
                raise _fault(folder, "sample_data", row, f"its timestamp {row['timestamp']} is far from its sample's, "
                             f"{sample['timestamp']}", "write all timestamps in microseconds")  # fmt: skip
        if row.get("ego_pose_token") not in by_token["ego_pose"]:
            raise _fault(folder, "sample_data", row, f"its ego_pose_token '{row.get('ego_pose_token')}' is not in "
                         "ego_pose.json", "restore that row")  # fmt: skip
        size = [row.get("width"), row.get("height")]
        if kind == "camera" and not (_are_finite(size, 2) and min(size) > 0):
            raise _fault(folder, "sample_data", row, "its width and height are no size of a picture", "add them")


def _check_annotations(rows: Rows, by_token: Mapping[str, Mapping[str, dict]], folder: Path) -> None:
    samples, annotations = by_token["sample"], by_token["sample_annotation"]
    for row in rows:
        _check_pose(folder, "sample_annotation", row)
        size = row.get("size")
        if not (_are_finite(size, 3) and min(size) > 0):
            raise _fault(folder, "sample_annotation", row, f"its size {size} is not width, length and height in "
                         "metres, all above 0", "correct or remove it")  # fmt: skip
        if unknown := [token for token in row.get("attribute_tokens", ()) if token not in by_token["attribute"]]:
            raise _fault(folder, "sample_annotation", row, f"its attribute '{unknown[0]}' is not in attribute.json",
                         "restore that row")  # fmt: skip
        for key in ("prev", "next"):
            if row.get(key) and row[key] not in annotations:
                raise _fault(folder, "sample_annotation", row, f"its {key} '{row[key]}' is not there", "empty it")
        following = annotations.get(row.get("next") or "")
        if following is not None:
            stamps = [samples[entry["sample_token"]]["timestamp"] for entry in (row, following)]
            if stamps[1] <= stamps[0]:
                raise _fault(folder, "sample_annotation", row, "its next is not later, so its velocity would be wrong",
                             "correct prev and next of its instance")  # fmt: skip


def _check_pose(folder: Path, name: str, row: dict) -> None:
    rotation = row.get("rotation")
    if not _are_finite(rotation, 4) or not any(abs(value) > SMALLEST for value in rotation):
        raise _fault(folder, name, row, f"its rotation {rotation} is no quaternion (w, x, y, z)",
                     "correct or remove it")  # fmt: skip
    if not _are_finite(row.get("translation"), 3):
        raise _fault(folder, name, row, f"its translation {row.get('translation')} is not three finite numbers",
                     "correct or remove it")  # fmt: skip


def _check_stamp(folder: Path, name: str, row: dict) -> None:
    stamp = row.get("timestamp")
    if isinstance(stamp, bool) or not isinstance(stamp, int | float) or not math.isfinite(stamp):
        raise _fault(folder, name, row, f"its timestamp {stamp!r} is no number", "write it in microseconds")
    if stamp > LATEST_US:
        raise _fault(folder, name, row, f"its timestamp {stamp} is in nanoseconds", "write it in microseconds")


def _are_finite(values: object, count: int) -> bool:
    """Whether they are so many finite numbers. Rows may be many: NumPy would take ten times as long."""
    try:
        return isinstance(values, list) and len(values) == count and math.isfinite(sum(values))
    except TypeError:
        return False


def _is_intrinsic(matrix: object) -> bool:
    rows = isinstance(matrix, list) and len(matrix) == 3 and all(_are_finite(row, 3) for row in matrix)
    return rows and matrix[0][0] > 0 and matrix[1][1] > 0


def _fault(folder: Path, name: str, row: dict, what: str, remedy: str) -> DataError:
    return DataError(f"{folder / name}.json, row '{row.get('token')}': {what}; {remedy}")
