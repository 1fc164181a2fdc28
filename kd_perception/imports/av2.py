"""Argoverse 2's sensor logs as a nuScenes-format data set: one scene a log, links to the original files.

Labels come at 10 Hz; keyframes are chosen among the labelled moments, at the LiDAR's without labels. Clouds hold both
LiDARs in the egovehicle frame, so they are one LiDAR here, mounted there: beams 0 to 31 are the upper one's, the others
the lower one's.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kd_perception.datasets.clouds import ARGOVERSE_COLUMNS
from kd_perception.datasets.feather import is_whole_feather
from kd_perception.datasets.versions import AV2_VERSION
from kd_perception.datasets.written_tables import MountedLidar, SensorFile, WrittenKeyframe
from kd_perception.errors import DataError
from kd_perception.geometry.camera import Camera
from kd_perception.imports.av2_log import (
    BOXES_FILE,
    EGO_FROM_EGOVEHICLE,
    POSES_FILE,
    Av2Boxes,
    Av2Poses,
    read_boxes,
    read_cameras,
    read_poses,
)
from kd_perception.imports.moments import belonging, thinned
from kd_perception.imports.written import LoggedScene, LogImport, Progress, SceneWriter, WrittenData, check_first

RING = tuple(f"ring_{side}" for side in (
    "front_center", "front_right", "side_right", "rear_right", "rear_left", "side_left", "front_left"
))  # fmt: skip
STEREO = ("stereo_front_left", "stereo_front_right")
LIDAR = "lidar"
TOLERANCE_NS = 60_000_000  # a measurement further from a keyframe belongs to another moment
MICROSECOND, SECOND = 1000, 1e9
PARTS = ("sensors", "calibration", POSES_FILE)  # a folder with one of them is meant to be a log


def import_av2(wanted: LogImport, cameras: Sequence[str] = RING, progress: Progress | None = None) -> WrittenData:
    """Write the data set AV2_VERSION into `wanted.out`, of a log or of all logs of a folder.

    `progress` is called with the number of files placed and of all. Raises ConfigError for options that make no sense,
    DataError for what is missing or damaged, before anything is written.
    """
    wanted.check(AV2_VERSION)
    writer = SceneWriter(wanted, AV2_VERSION)
    problems = writer.result.problems
    scenes = (_Log(log, cameras, problems).scene(wanted) for log in find_logs(wanted.source))
    return writer.write("Argoverse 2", scenes, progress)


def find_logs(source: Path) -> list[Path]:
    """The folder itself if it is a log, else the logs that it holds; raises DataError if there is none."""
    for candidates in ([source], sorted(source.iterdir()) if source.is_dir() else []):
        if logs := [path for path in candidates if any((path / part).exists() for part in PARTS)]:
            return logs
    raise DataError(
        f"{source} is no Argoverse 2 log and holds none: a log has sensors/, calibration/ and {POSES_FILE}; give a "
        "log's folder, or that of a split (train/, val/) which holds logs"
    )


class _Log:
    """One log: what it holds, and sentences on what it lacks."""

    def __init__(self, folder: Path, cameras: Sequence[str], problems: list[str]) -> None:
        self.folder, self.name, self.problems = folder, folder.resolve().name, problems
        self.poses: Av2Poses = read_poses(folder)
        self.boxes: Av2Boxes | None = read_boxes(folder)
        self.sensors = self._sensors(cameras)
        if self.boxes is None:
            problems.append(f"{self.name} has no {BOXES_FILE}: it is imported without labels")
        elif unknown := self.boxes.unknown():
            listed = ", ".join(f"{count} of '{kind}'" for kind, count in unknown.items())
            problems.append(
                f"{self.name} has boxes of classes that Argoverse 2 does not list: {listed}; they stay in the tables "
                "as av2.CLASS, and no class of config/classes/av2.yaml takes them"
            )

    def scene(self, wanted: LogImport) -> LoggedScene:
        """The log as keyframes, and the originals of their files."""
        every = self._moments(wanted.keyframe_hz)
        moments = [stamp for stamp in every if self.poses.city_from_ego(stamp) is not None]
        placed = self._placed(moments, keyframes_only=wanted.keyframes_only)
        frames = [[file for owner, file, _ in placed if owner == index] for index in range(len(moments))]
        keyframes = [
            WrittenKeyframe(stamp // MICROSECOND, files, self._boxes_at(stamp))
            for stamp, files in zip(moments, frames, strict=True)
            if any(file.keyframe for file in files)
        ]
        if lost := len(every) - len(keyframes):
            self.problems.append(f"{self.name}: {lost} keyframes without pose, picture and cloud are left out")
        kept = {file.filename for frame in keyframes for file in frame.files}
        originals = {file.filename: path for _, file, path in placed if file.filename in kept}
        return LoggedScene(self.name, keyframes, originals)

    def _placed(self, moments: Sequence[int], *, keyframes_only: bool) -> list[tuple[int, SensorFile, Path]]:
        """Files with the number of the keyframe that each belongs to, and their originals."""
        placed, homeless = [], 0
        for sensor, files in self.sensors:
            stamps = np.array([int(path.stem) for path in files], np.int64)
            for path, stamp, owner, own in zip(
                files, stamps.tolist(), *belonging(stamps, moments, TOLERANCE_NS), strict=True
            ):
                if owner < 0 or (keyframes_only and not own):
                    continue
                pose = self.poses.city_from_ego(stamp)
                if pose is None:
                    homeless += 1
                    continue
                filename = f"{'samples' if own else 'sweeps'}/{sensor.name}/{self.name}__{path.name}"
                file = SensorFile(sensor, filename, stamp // MICROSECOND, pose, bool(own))
                placed.append((int(owner), file, path))
        if homeless:
            self.problems.append(f"{self.name}: {homeless} files are of moments without a pose and are left out")
        return placed

    def _moments(self, hertz: float) -> list[int]:
        """Stamps (ns) of the keyframes."""
        if self.boxes is not None and self.boxes.stamps_ns:
            stamps = self.boxes.stamps_ns
        else:
            every = (files for _, files in (self.sensors[-1], *self.sensors[:-1]))  # the LiDAR's, else a camera's
            stamps = [int(path.stem) for path in next(filter(None, every), [])]
        return thinned(stamps, SECOND / hertz if hertz else 0.0)

    def _boxes_at(self, stamp_ns: int) -> list:
        return self.boxes.at(stamp_ns, self.poses.city_from_ego(stamp_ns)) if self.boxes is not None else []

    def _sensors(self, names: Sequence[str]) -> list[tuple[Camera | MountedLidar, list[Path]]]:
        """Cameras and the LiDAR, each with its files in time order; the LiDAR is last."""
        calibrated, found = read_cameras(self.folder, names), []
        for name in names:
            files = _stamped(self.folder / "sensors" / "cameras" / name, ".jpg")
            if not files:
                self.problems.append(f"{self.name} has no picture of {name}")
            elif name not in calibrated:
                raise DataError(
                    f"{self.folder / 'calibration'} has no calibration of {name}, which has pictures; restore it"
                )
            else:
                if empty := [path for path in files if not path.stat().st_size]:
                    raise DataError(f"{len(empty)} pictures are empty, the first is {empty[0]}; restore them")
                found.append((calibrated[name], files))
        clouds = _stamped(self.folder / "sensors" / "lidar", ".feather")
        if cut := [path for path in clouds if not is_whole_feather(path)]:
            raise DataError(
                f"{len(cut)} of {len(clouds)} clouds are cut or no feather files, the first is {cut[0]}; restore them"
            )
        if not clouds:
            self.problems.append(f"{self.name} has no cloud")
        sensors = [*found, (MountedLidar(LIDAR, EGO_FROM_EGOVEHICLE, ARGOVERSE_COLUMNS), clouds)]
        for sensor, files in sensors:
            if files:
                check_first(files[0], sensor)
        return sensors


def _stamped(folder: Path, suffix: str) -> list[Path]:
    """Files of a sensor in time order: each is named after its stamp in nanoseconds."""
    files = [path for path in folder.glob(f"*{suffix}") if path.stem.isdecimal()] if folder.is_dir() else []
    return sorted(files, key=lambda path: int(path.stem))
