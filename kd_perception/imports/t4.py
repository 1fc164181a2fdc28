"""T4 data sets (of Autoware's tools) as a nuScenes-format data set: one scene each, links to the original files.

Samples keep their times and annotations; what T4 has beyond nuScenes (2D annotations, radars, vehicle states, maps)
is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kd_perception.datasets.versions import T4_VERSION
from kd_perception.datasets.written_tables import MountedLidar, SensorFile, WrittenKeyframe
from kd_perception.errors import DataError
from kd_perception.imports.moments import thinned
from kd_perception.imports.t4_tables import T4Tables, find_data_sets
from kd_perception.imports.written import LoggedScene, LogImport, Progress, SceneWriter, WrittenData, check_first

SECOND_US = 1e6
FLOAT = 4  # bytes
RING, MOST_RINGS = 4, 1024  # column of a cloud, and what it may hold at most


def import_t4(wanted: LogImport, progress: Progress | None = None) -> WrittenData:
    """Write the data set T4_VERSION into `wanted.out`, of a T4 data set or of all that a folder holds.

    `progress` is called with the number of files placed and of all. Raises ConfigError for options that make no sense,
    DataError for what is missing or damaged, before anything is written.
    """
    wanted.check(T4_VERSION)
    writer = SceneWriter(wanted, T4_VERSION)
    problems = writer.result.problems
    scenes = (
        scene
        for root in find_data_sets(wanted.source)
        for scene in _DataSet(T4Tables.read(root), wanted, problems).scenes()
    )
    return writer.write("T4", scenes, progress)


@dataclass
class _DataSet:
    """One data set on its way into the tables."""

    tables: T4Tables
    wanted: LogImport
    problems: list[str]

    def scenes(self) -> list[LoggedScene]:
        """Its scenes: T4 has one each."""
        rows = self.tables.rows["scene"]
        if not self.tables.rows["sample_annotation"]:
            self.problems.append(f"{self.tables.name} has no annotation: it is imported without labels")
        names = [self.tables.name] if len(rows) == 1 else [f"{self.tables.name}-{row['name']}" for row in rows]
        return [self._scene(name, row) for name, row in zip(names, rows, strict=True)]

    def _scene(self, name: str, scene: dict) -> LoggedScene:
        samples = self.tables.samples(scene)
        hertz = self.wanted.keyframe_hz
        moments = thinned([row["timestamp"] for row in samples], SECOND_US / hertz if hertz else 0.0)
        kept = [row for row in samples if row["timestamp"] in set(moments)]
        key_of = {row["token"]: index for index, row in enumerate(kept)}
        placed: list[tuple[int, SensorFile, Path]] = []
        for row in self._measurements({row["token"] for row in samples}):
            own = bool(row["is_key_frame"]) and row["sample_token"] in key_of
            owner = key_of[row["sample_token"]] if own else int(np.searchsorted(moments, row["timestamp"], "right")) - 1
            if own or (owner >= 0 and not self.wanted.keyframes_only):
                placed.append((owner, *self._file(name, row, own=own)))
        self._check_files([(file, source) for _, file, source in placed])
        frames = [
            WrittenKeyframe(row["timestamp"], [file for owner, file, _ in placed if owner == index], boxes)
            for index, (row, boxes) in enumerate((row, self.tables.boxes(row)) for row in kept)
        ]
        if empty := [frame for frame in frames if not frame.files]:
            self.problems.append(f"{name}: {len(empty)} samples have no picture and no cloud, and are left out")
        originals = {file.filename: source for _, file, source in placed}
        return LoggedScene(name, [frame for frame in frames if frame.files], originals, scene["name"])

    def _measurements(self, samples: set[str]) -> list[dict]:
        """Rows of cameras and LiDARs of a scene's samples that are valid, oldest first."""
        rows = [row for row in self.tables.rows["sample_data"] if self.tables.modality(row) in ("camera", "lidar")]
        rows = [row for row in rows if not row.get("sample_token") or row["sample_token"] in samples]
        valid = [row for row in rows if row.get("is_valid", True)]
        if len(valid) < len(rows):
            invalid = len(rows) - len(valid)
            self.problems.append(f"{self.tables.name}: {invalid} files are marked as not valid and are left out")
        return sorted(valid, key=lambda row: row["timestamp"])

    def _file(self, scene: str, row: dict, *, own: bool) -> tuple[SensorFile, Path]:
        source, sensor = self.tables.root / row["filename"], self.tables.sensor(row)
        folder = "samples" if own else "sweeps"
        filename = f"{folder}/{sensor.name}/{scene}__{source.name}"
        return SensorFile(sensor, filename, row["timestamp"], self.tables.pose(row), own), source

    def _check_files(self, files: Sequence[tuple[SensorFile, Path]]) -> None:
        """Raise DataError for files that are missing, cut, or of another size than the tables say."""
        if missing := [source for _, source in files if not source.is_file()]:
            raise DataError(
                f"{len(missing)} files are missing in {self.tables.root}, the first is {missing[0]}; restore them"
            )
        seen: set[str] = set()
        for file, source in files:
            size, sensor = source.stat().st_size, file.sensor
            if not size:
                raise DataError(f"{source} is empty; restore it")
            if isinstance(sensor, MountedLidar):
                row = FLOAT * len(sensor.columns)
                if source.suffix == ".bin" and size % row:
                    raise DataError(f"point cloud {source} is truncated: {size} bytes are no rows of {row}; restore it")
            if sensor.name not in seen:
                seen.add(sensor.name)
                check_first(source, sensor)
                if isinstance(sensor, MountedLidar) and source.suffix == ".bin":
                    _check_rings(source, len(sensor.columns))


def _check_rings(cloud: Path, columns: int) -> None:
    """Raise DataError if the fifth column of a cloud holds no numbers of beams, nor -1: rows are of other lengths."""
    if columns <= RING:
        return
    ring = np.fromfile(cloud, np.float32).reshape(-1, columns)[:, RING]
    if not np.isin(ring, np.arange(-1, MOST_RINGS)).all():
        raise DataError(
            f"the ring of some points of {cloud} is no whole number: its rows are not of {columns} columns; say how "
            "many there are as num_pts_feats in the file that its info_filename names"
        )
