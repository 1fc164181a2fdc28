"""nuScenes-format tables as nuscenes-devkit reads them, with what its schema leaves to the names of nuScenes' sensors.

The large tables stay in their files (JsonRows); what is looked up all over them is an index (table_index.py), which
processes share. Imports the devkit, so it is imported on use (`open_nuscenes`).
"""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kd_perception.datasets.devkit import NuScenes
from kd_perception.datasets.index_cache import indexed
from kd_perception.datasets.json_rows import RowNumbers
from kd_perception.datasets.large_tables import LARGE
from kd_perception.datasets.rigs import SceneRig, scene_rigs
from kd_perception.datasets.row_types import UNKNOWN_POINTS
from kd_perception.datasets.table_index import build_index, large_rows


class Tables(NuScenes):
    """A data set's tables; `rigs`: the sensors of each scene, by scene token.

    A row of a large table is a new dict each time, and so are 'data' and 'anns' of a sample: do not write into them.
    """

    def __init__(self, dataroot: Path, version: str, anchor: str = "") -> None:
        """Raises what the devkit raises for missing tables, and DataError as `check_tables` and `scene_rigs`."""
        super().__init__(version=version, dataroot=str(dataroot), verbose=False)
        self.rigs = scene_rigs(self, anchor)

    def get(self, table_name: str, token: str) -> dict:
        """The row of a token; raises KeyError if there is none."""
        if table_name in LARGE:
            return getattr(self, table_name).of_token(token)
        return super().get(table_name, token)

    def rig_of(self, sample_token: str) -> SceneRig:
        """The rig of a sample's scene."""
        return self.rigs[self.get("sample", sample_token)["scene_token"]]

    def sample_rows(self, table: str, sample_token: str) -> np.ndarray:
        """Numbers (n,) of a sample's rows in sample_data or sample_annotation, in table order."""
        number, starts = self._token2ind["sample"][sample_token], self.index[f"{table}.sample_start"]
        return self.index[f"{table}.by_sample"][starts[number] : starts[number + 1]]

    def key_rows(self, sample_token: str) -> dict[str, int]:
        """Number of a sample's sample_data row of each channel that has a keyframe there."""
        rows = self.sample_rows("sample_data", sample_token)
        rows = rows[self.index["sample_data.key"][rows]]
        return {self.channel_of(int(row)): int(row) for row in rows}

    def exposures(self, scene_token: str, channel: str) -> np.ndarray:
        """Numbers (n,) of a scene's sample_data rows of a channel, oldest first."""
        sensors = [number for number, row in enumerate(self.sensor) if row["channel"] == channel]
        of_samples = [self.sample_rows("sample_data", token) for token in self.samples_of(scene_token)]
        rows = np.sort(np.concatenate([np.zeros(0, np.int32), *of_samples]))
        rows = rows[np.isin(self.index["sample_data.sensor"][rows], sensors)]
        return rows[np.argsort(self.index["sample_data.stamp"][rows], kind="stable")]

    def samples_of(self, scene_token: str) -> list[str]:
        """Tokens of a scene's samples, in table order."""
        return self._samples.get(scene_token, [])

    def with_annotations(self, keeps: Callable[[str, np.ndarray], np.ndarray]) -> "Tables":
        """A copy whose samples have some of their annotations only.

        keeps(sample token, numbers (n,) of its rows in sample_annotation) -> bool (n,).
        """
        copied = copy.copy(self)
        rows = [self.sample_rows("sample_annotation", row["token"]) for row in self.sample]
        kept = [numbers[keeps(row["token"], numbers)] for row, numbers in zip(self.sample, rows, strict=True)]
        starts = np.cumsum([0, *(len(numbers) for numbers in kept)])
        of_samples = {"by_sample": np.concatenate(kept), "sample_start": starts}
        copied.index = {**self.index, **{f"sample_annotation.{name}": array for name, array in of_samples.items()}}
        copied.sample = [_Sample(copied, row) for row in self.sample]
        return copied

    def first_rows(self) -> dict[str, dict[str, dict]]:
        """Each scene's first sample_data row of each channel, by scene token and channel."""
        seen: dict[str, dict[str, dict]] = {scene["token"]: {} for scene in self.scene}
        for number in self.index["sample_data.first"]:
            row = self.sample_data[int(number)]
            scene = self.get("sample", row["sample_token"])["scene_token"]
            if scene in seen:
                seen[scene].setdefault(row["channel"], row)
        return seen

    def channel_of(self, row: int) -> str:
        """The channel of a sample_data row, by its number."""
        return self.sensor[self.index["sample_data.sensor"][row]]["channel"]

    def __load_table__(self, table_name: str) -> list[dict]:
        """A table that fits into memory; the devkit asks for each."""
        if table_name in (*LARGE, "image_annotations"):  # the second is an export of the devkit that nothing here reads
            return []
        rows = super().__load_table__(table_name)
        return self._complete_maps(rows) if table_name == "map" else rows

    def __make_reverse_index__(self, verbose: bool) -> None:  # noqa: FBT001, the devkit calls it
        """What the devkit derives from the tables once it has read them, without reading the large ones."""
        del verbose
        folder = Path(self.table_root)
        small = {name: getattr(self, name) for name in self.table_names if name not in (*LARGE, "map")}
        self.index = indexed(folder, lambda: build_index(folder, small))
        self._token2ind = {
            name: {row["token"]: number for number, row in enumerate(getattr(self, name))} for name in (*small, "map")
        }
        complete = {"sample_data": self._with_sensor, "sample_annotation": self._with_category}
        for table, rows in large_rows(folder, self.index, complete).items():
            setattr(self, table, rows)
            self._token2ind[table] = RowNumbers(rows)
        self.sample = [_Sample(self, row) for row in self.sample]
        self._samples: dict[str, list[str]] = {}
        for row in self.sample:
            self._samples.setdefault(row["scene_token"], []).append(row["token"])
        map_of = {log: row["token"] for row in self.map for log in row["log_tokens"]}
        for row in self.log:
            row["map_token"] = map_of[row["token"]]

    def _complete_maps(self, rows: list[dict]) -> list[dict]:
        """A map for every log, as the devkit wants it; nothing here reads maps, so files and rows may be absent."""
        rows = [row for row in rows if isinstance(row.get("log_tokens"), list)]
        for row in rows:
            if not (Path(self.dataroot) / row["filename"]).exists():
                row["filename"] = ""
        mapped = {token for row in rows for token in row["log_tokens"]}
        without = [row["token"] for row in self.log if row["token"] not in mapped]
        return [*rows, {"token": "no map", "category": "", "filename": "", "log_tokens": without}]

    def _with_sensor(self, number: int, row: dict) -> dict:
        sensor = self.sensor[self.index["sample_data.sensor"][number]]
        return row | {"sensor_modality": sensor["modality"], "channel": sensor["channel"]}

    def _with_category(self, number: int, row: dict) -> dict:
        """The row with its category and both counts of points, unknown where the index says so."""
        lidar, radar = row.get("num_lidar_pts"), row.get("num_radar_pts") or 0
        if self.index["sample_annotation.points"][number] == UNKNOWN_POINTS:
            lidar, radar = UNKNOWN_POINTS, 0
        name = self.category[self.index["sample_annotation.category"][number]]["name"]
        return row | {"category_name": name, "num_lidar_pts": lidar, "num_radar_pts": radar}


class _Sample(dict):
    """A sample's row; 'data' (tokens of its keyframes by channel) and 'anns' (tokens) are looked up when asked for."""

    def __init__(self, nusc: Tables, row: dict) -> None:
        super().__init__(row)
        self._nusc = nusc

    def __missing__(self, key: str) -> dict[str, str] | list[str]:
        nusc, token = self._nusc, self["token"]
        if key == "data":
            return {channel: nusc.sample_data.token(row) for channel, row in nusc.key_rows(token).items()}
        if key == "anns":
            return [nusc.sample_annotation.token(int(row)) for row in nusc.sample_rows("sample_annotation", token)]
        raise KeyError(key)
