"""What every import of recorded logs does once they are read: nothing is written before all of them are.

Scenes go into the tables, their files become links to the originals (or copies), and the tables come last.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kd_perception.datasets.clouds import read_cloud
from kd_perception.datasets.written_tables import MountedLidar, WrittenKeyframe, WrittenTables, is_written
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.camera import Camera
from kd_perception.images.decoding import encoded_size

HEADER_BYTES = 1 << 16  # of a picture: within them stands its size
Progress = Callable[[int, int], None]  # done and total


@dataclass
class WrittenData:
    """What an import wrote: keyframes, boxes and files, and sentences on what was left out."""

    keyframes: int = 0
    boxes: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LogImport:
    """What is imported: a log, or a folder of them; `keyframe_hz` keyframes a second, 0 for all that are labelled."""

    source: Path
    out: Path
    keyframe_hz: float = 0.0
    keyframes_only: bool = False
    copy: bool = False

    def check(self, version: str) -> None:
        """Raise ConfigError if `out` holds a data set or the source, or for a negative rate."""
        if not 0.0 <= self.keyframe_hz < float("inf"):
            raise ConfigError(f"--keyframe-hz {self.keyframe_hz:g} is no rate; give keyframes a second, or 0 for all")
        if is_written(self.out, version):
            raise ConfigError(f"{self.out} holds a data set {version} already; choose another folder for --out")
        out, source = self.out.resolve(), self.source.resolve()
        if out == source or out in source.parents or source in out.parents:
            raise ConfigError(f"{self.out} and the original files lie in each other; choose another folder for --out")


@dataclass(frozen=True)
class LoggedScene:
    """A scene that was read: its keyframes, and the original of each file name that they have."""

    name: str
    keyframes: Sequence[WrittenKeyframe]
    originals: Mapping[str, Path]
    description: str = ""


@dataclass
class SceneWriter:
    """Writes scenes as a data set, and says what it wrote."""

    wanted: LogImport
    version: str
    result: WrittenData = field(default_factory=WrittenData)

    def write(self, location: str, scenes: Iterable[LoggedScene], progress: Progress | None = None) -> WrittenData:
        """Read all scenes, place their files, and write the tables. Raises DataError where no scene has a keyframe."""
        tables, originals = WrittenTables(location), {}
        for scene in scenes:
            if not scene.keyframes:
                self.result.problems.append(f"{scene.name} has no keyframe and is left out")
                continue
            tables.add_scene(scene.name, scene.keyframes, scene.description)
            originals |= scene.originals
            self.result.keyframes += len(scene.keyframes)
            self.result.boxes += sum(len(frame.boxes) for frame in scene.keyframes)
        if not originals:
            raise DataError(f"{self.wanted.source} holds nothing to import: {'; '.join(self.result.problems)}")
        for number, (filename, source) in enumerate(originals.items(), start=1):
            place_file(source, self.wanted.out / filename, copy=self.wanted.copy)
            if progress is not None:
                progress(number, len(originals))
        tables.write(self.wanted.out, self.version)
        self.result.files = len(originals)
        return self.result


def place_file(source: Path, target: Path, *, copy: bool) -> None:
    """Link or copy a file; what an earlier import left there is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if copy:
        shutil.copyfile(source, target)
    else:
        os.symlink(source.resolve(), target)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height, without the picture itself; raises DataError if it is no picture."""
    with path.open("rb") as stream:
        height, width = encoded_size(stream.read(HEADER_BYTES), str(path))
    return width, height


def check_first(path: Path, sensor: Camera | MountedLidar) -> None:
    """Raise DataError if a sensor's first file is no cloud of its columns, or no picture of the calibrated size."""
    if isinstance(sensor, MountedLidar):
        read_cloud(path, sensor.columns)
        return
    width, height = picture_size(path)
    if (width, height) != (sensor.width, sensor.height):
        raise DataError(
            f"{path} has {width}x{height} pixels, but {sensor.name} is calibrated for {sensor.width}x{sensor.height}; "
            "restore the original picture"
        )
