"""Ground-truth paste (database sampling of SECOND, Sensors 18(10), 2018; as in CenterPoint, arXiv:2006.11275): objects
of other keyframes are put into a cloud, where they were in theirs, so that every cloud has enough of the rare classes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from rich.progress import track

from kd_perception.atomic import atomic_path
from kd_perception.errors import ConfigError
from kd_perception.geometry.box_geometry import Rectangles, rectangles_overlap
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_training.config.teacher import PasteConfig
from kd_training.data.frames import TrainingFrame, facts_of
from kd_training.data.held_points import inside
from kd_training.data.lidar_source import LidarSource

CUT_MARGIN = 0.05  # metres around a box: range noise puts returns of its sides outside
KEEP_CLEAR = 0.2  # metres that pasted boxes stay away from others


@dataclass(frozen=True)
class Objects:
    """N objects: `boxes` in their own keyframe's ego, and their points (P, 5 or 6) behind each other; object k has
    points[starts[k] : starts[k + 1]]."""

    boxes: Boxes
    points: np.ndarray
    starts: np.ndarray

    def of(self, index: int) -> np.ndarray:
        """The points of one object."""
        return self.points[self.starts[index] : self.starts[index + 1]]


class Paste:
    """Fills clouds with objects of a database."""

    def __init__(self, objects: Objects, config: PasteConfig) -> None:
        self.objects, self.config = objects, config
        self._of_class = {name: np.flatnonzero(objects.boxes.label == self._label(name)) for name in config.counts}

    def _label(self, name: str) -> int:
        return self.objects.boxes.classes.label(name)

    def __call__(self, cloud: np.ndarray, boxes: Boxes, rng: np.random.Generator) -> tuple[np.ndarray, Boxes]:
        """A cloud and its ground truth in ego -> both with pasted objects: none overlaps another box, and
        the cloud's own points inside a pasted box are gone."""
        chosen = self._choose(boxes, rng)
        if not len(chosen):
            return cloud, boxes
        pasted = self.objects.boxes[chosen]
        kept = np.ones(len(cloud), bool)
        for index in range(len(pasted)):
            kept &= ~inside(cloud, pasted, index, CUT_MARGIN)
        clouds = [cloud[kept], *(self.objects.of(index) for index in chosen)]
        return np.concatenate(clouds), Boxes.concatenate([boxes, pasted])

    def _choose(self, boxes: Boxes, rng: np.random.Generator) -> np.ndarray:
        """Indices of objects that bring each class up to its count as far as there is room."""
        chosen: list[int] = []
        for name, count in self.config.counts.items():
            candidates = self._of_class[name]
            wanted = min(count - np.count_nonzero(boxes.label == self._label(name)), len(candidates))
            if wanted <= 0:
                continue
            for index in rng.choice(candidates, wanted, replace=False):
                there = Boxes.concatenate([boxes, self.objects.boxes[np.array(chosen, np.int64)]])
                candidate = self.objects.boxes[np.array([index])]
                candidate = replace(candidate, size=candidate.size + 2.0 * KEEP_CLEAR)
                if not rectangles_overlap(Rectangles.of(candidate), Rectangles.of(there)).any():
                    chosen.append(int(index))
        return np.array(chosen, np.int64)


def build_paste(frames: Sequence[TrainingFrame], lidar: LidarSource, config: PasteConfig) -> Paste | None:
    """The paste of a configuration, None if it names no class; raises ConfigError for an unknown one.

    With `config.file` the database is kept there, and read back when the same frames and settings want it.
    """
    classes = frames[0].boxes.classes
    for name in config.counts:
        if name not in classes.names:
            raise ConfigError(
                f"data.paste.counts names '{name}', which is no class; they are {', '.join(classes.names)}"
            )
    if not any(config.counts.values()):
        return None
    wanted = _digest(frames, lidar, config)
    objects = _read(Path(config.file), wanted, classes) if config.file else None
    if objects is None:
        objects = cut_objects(frames, lidar, config)
        if config.file:
            _write(Path(config.file), wanted, objects)
    return Paste(objects, config)


def cut_objects(frames: Sequence[TrainingFrame], lidar: LidarSource, config: PasteConfig) -> Objects:
    """Cut objects from the clouds of frames in random order until each class has `per_class` of them."""
    classes = frames[0].boxes.classes
    room = np.zeros(len(classes), np.int64)
    for name, count in config.counts.items():
        room[classes.label(name)] = config.per_class if count else 0
    boxes: list[Boxes] = []
    points: list[np.ndarray] = []
    order = np.random.default_rng(0).permutation(len(frames))
    for place in track(order, description="cutting objects to paste", transient=True):
        if not room.any():
            break
        frame = frames[place]
        if not room[frame.boxes.label].any():
            continue
        cloud = lidar.cloud(frame)
        for index in np.flatnonzero(room[frame.boxes.label] > 0):
            label = frame.boxes.label[index]
            cut = cloud[inside(cloud, frame.boxes, index, CUT_MARGIN)]
            if room[label] and len(cut) >= config.least_points:
                boxes.append(frame.boxes[index : index + 1])
                points.append(cut)
                room[label] -= 1
    width = points[0].shape[1] if points else 5
    starts = np.cumsum([0, *(len(cut) for cut in points)])
    return Objects(
        Boxes.concatenate(boxes, classes), np.concatenate([np.zeros((0, width), np.float32), *points]), starts
    )


def _digest(frames: Sequence[TrainingFrame], lidar: LidarSource, config: PasteConfig) -> str:
    """What a database was cut from, and how."""
    teacher = lidar.teacher
    facts = [asdict(teacher.points), teacher.pillar_size, config.least_points, config.per_class, sorted(config.counts)]
    facts.append(frames[0].boxes.classes.names)
    digest = hashlib.sha256(json.dumps(facts).encode())
    for facts in facts_of(frames):
        digest.update(facts.key.encode())
    return digest.hexdigest()


def _write(path: Path, digest: str, objects: Objects) -> None:
    arrays = {f"boxes_{name}": value for name, value in objects.boxes.arrays.items()}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, digest=np.array(digest), points=objects.points, starts=objects.starts, **arrays)


def _read(path: Path, digest: str, classes: ClassList) -> Objects | None:
    """The database of a file, None if there is none, or one that was cut from something else."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["digest"]) != digest:
                return None
            boxes = {name.removeprefix("boxes_"): stored[name] for name in stored.files if name.startswith("boxes_")}
            return Objects(Boxes(**boxes, classes=classes), stored["points"], stored["starts"])
    except (FileNotFoundError, BadZipFile, ValueError, KeyError, EOFError):
        return None
