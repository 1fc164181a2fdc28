"""Files of a teacher's labels (`kd label`), scene by scene: boxes and doubt of keyframes that nobody labelled."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from cachetools import LRUCache

from kd_perception.atomic import atomic_path
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_training.data.doubt import DoubtfulCells

KEPT_SCENES = 16  # in memory; a scene of 40 keyframes takes about 1 MB
BOX_COLUMNS = 10  # center (3), size (3), yaw, velocity (2), score


@dataclass(frozen=True)
class PseudoLabels:
    """A keyframe's boxes in ego that count as truth, and the cells in doubt."""

    boxes: Boxes
    doubt: DoubtfulCells


class PseudoLabelFolder:
    """Reads the labels of keyframes by data set, scene and sample, for a student of `classes`."""

    def __init__(self, folder: Path, classes: ClassList) -> None:
        self.folder, self.classes = folder, classes
        self._kept: LRUCache = LRUCache(KEPT_SCENES)

    def of(self, data_set: str, scene: str) -> Mapping[str, PseudoLabels]:
        """By sample token; raises ConfigError where nobody made labels, DataError for a broken file."""
        name = scene_file(data_set, scene)
        if name not in self._kept:
            self._kept[name] = read_pseudo_labels(self.folder / name, self.classes)
        return self._kept[name]


def scene_file(data_set: str, scene: str) -> str:
    """Name of a scene's file among those of all data sets; `data_set`: FOLDER/VERSION."""
    place = f"{Path(data_set).resolve()}/{scene}"
    return f"{scene.replace('/', '_')}-{hashlib.sha256(place.encode()).hexdigest()[:8]}.npz"


def write_pseudo_labels(path: Path, labels: Mapping[str, PseudoLabels]) -> None:
    """Write a scene's file, whole or not at all."""
    entries = list(labels.values())
    doubts = [entry.doubt for entry in entries]
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            samples=np.array(list(labels)),
            names=np.array(entries[0].boxes.classes.names),
            side=np.array([doubt.side for doubt in doubts]),
            everywhere=doubts[0].everywhere,
            box_counts=np.array([len(entry.boxes) for entry in entries], np.int64),
            boxes=np.concatenate([pack_boxes(entry.boxes) for entry in entries]),
            labels=np.concatenate([entry.boxes.label for entry in entries]),
            cell_counts=np.array([len(doubt.label) for doubt in doubts], np.int64),
            xy=np.concatenate([doubt.xy for doubt in doubts]).astype(np.float32),
            cell_labels=np.concatenate([doubt.label for doubt in doubts]).astype(np.int16),
        )


@dataclass(frozen=True)
class MovedLabels:
    """From the labels of who wrote a file to those of a class list: `now` (M,), -1 for a class that the list lacks;
    `unknown`: labels of the list that the writer did not look for."""

    now: np.ndarray
    unknown: np.ndarray
    classes: ClassList

    @staticmethod
    def of(names: Sequence[str], classes: ClassList) -> "MovedLabels":
        """By name."""
        now = [classes.names.index(name) if name in classes.names else -1 for name in names]
        unknown = [label for label, name in enumerate(classes.names) if name not in names]
        return MovedLabels(np.array(now, np.int64), np.array(unknown, np.int64), classes)

    def boxes(self, rows: np.ndarray, labels: np.ndarray) -> Boxes:
        """Boxes of rows (N, BOX_COLUMNS), without those of classes that the list lacks."""
        if labels.min(initial=0) < 0:
            raise ValueError(f"a label {labels.min()}")
        label = self.now[labels]
        return unpack_boxes(rows[label >= 0], label[label >= 0], self.classes)

    def doubt(self, written: DoubtfulCells) -> DoubtfulCells:
        """What was in doubt, and everywhere what nobody looked for."""
        label, everywhere = self.now[written.label], self.now[written.everywhere]
        everywhere = np.union1d(everywhere[everywhere >= 0], self.unknown).astype(np.int64)
        return DoubtfulCells(written.xy[label >= 0], label[label >= 0], written.side, everywhere)


def read_pseudo_labels(path: Path, classes: ClassList) -> dict[str, PseudoLabels]:
    """A scene's file, by sample token; its classes become those of the list by their names."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist: nobody labelled this scene of data.unlabelled; run kd label first")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        boxes, labels = (split(arrays[name], arrays["box_counts"]) for name in ("boxes", "labels"))
        xy, cells = (split(arrays[name], arrays["cell_counts"]) for name in ("xy", "cell_labels"))
        moved = MovedLabels.of(tuple(map(str, arrays.get("names", classes.names))), classes)
        return {
            str(sample): PseudoLabels(
                moved.boxes(boxes[k], labels[k]),
                moved.doubt(
                    DoubtfulCells(
                        xy[k].astype(float), cells[k].astype(int), float(arrays["side"][k]), arrays["everywhere"]
                    )
                ),
            )
            for k, sample in enumerate(arrays["samples"])
        }
    except (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, BadZipFile) as error:
        raise DataError(f"{path} holds no readable labels ({error}); delete it and run kd label again") from error


def pack_boxes(boxes: Boxes) -> np.ndarray:
    """Rows (N, BOX_COLUMNS) without labels."""
    return np.column_stack([boxes.center, boxes.size, boxes.yaw, boxes.velocity, boxes.score])


def unpack_boxes(rows: np.ndarray, labels: np.ndarray, classes: ClassList) -> Boxes:
    """The inverse; raises ValueError for labels that are no classes."""
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError(f"labels up to {labels.max()} of {len(classes)} classes")
    return Boxes(rows[:, :3], rows[:, 3:6], rows[:, 6], rows[:, 7:9], labels, rows[:, 9], classes)


def split(rows: np.ndarray, counts: np.ndarray) -> list[np.ndarray]:
    """Rows of all keyframes -> those of each; raises ValueError where the counts do not add up."""
    if counts.sum() != len(rows):
        raise ValueError(f"{len(rows)} rows where {counts.sum()} are counted")
    return np.split(rows, np.cumsum(counts)[:-1])
