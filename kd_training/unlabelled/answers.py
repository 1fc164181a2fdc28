"""What a teacher answers on the keyframes of a scene, kept in a file: it runs once, whatever is made of it later."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np

from kd_perception.atomic import atomic_path
from kd_perception.datasets.identities import keyframe_digest
from kd_perception.datasets.nuscenes import scene_samples
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import ClassList
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import BoxCoding
from kd_perception.student.decode import decode
from kd_training.data.frames import Dataset, TrainingFrame
from kd_training.data.pseudo_labels import BOX_COLUMNS, pack_boxes, scene_file, split, unpack_boxes

LEAST_SCORE = 0.05  # what scores less is forgotten
FORMAT = 1


@dataclass(frozen=True)
class KeyframeAnswer:
    """A teacher's answer on one keyframe: boxes in its ego, and the cells of the heatmap from LEAST_SCORE on, as
    class, row, column (N, 3) and their values (N,). The cloud is of `stamp_us`, its ego at `global_from_ego` (4, 4)."""

    sample: str
    stamp_us: int
    global_from_ego: np.ndarray
    boxes: Boxes
    cells: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class SceneAnswers:
    """The answers on all keyframes of a scene, in time order, on the teacher's grid."""

    grid: BevGrid
    keyframes: tuple[KeyframeAnswer, ...]


class KeyframeDetector(Protocol):
    """What answers: a LiDAR teacher, or an old student in its place."""

    @property
    def grid(self) -> BevGrid:
        """Of its heatmap."""
        ...

    @property
    def classes(self) -> ClassList:
        """That it detects."""
        ...

    @property
    def coding(self) -> BoxCoding:
        """Of its boxes."""
        ...

    def stamp_us(self, frame: TrainingFrame) -> int:
        """When what it sees of a keyframe was measured."""
        ...

    def outputs(self, frame: TrainingFrame) -> tuple[np.ndarray, np.ndarray]:
        """heatmap (classes, rows, columns) in [0, 1], regression (groups, codes, rows, columns)."""
        ...


def answer(detector: KeyframeDetector, frame: TrainingFrame) -> KeyframeAnswer:
    """Run the teacher on a keyframe; raises DataError naming a file that is missing or damaged."""
    heatmap, regression = detector.outputs(frame)
    classes, coding = detector.classes, detector.coding
    boxes = decode(heatmap, regression, detector.grid, LEAST_SCORE, classes=classes, coding=coding)
    cells = np.argwhere(heatmap >= LEAST_SCORE)
    moment, stamp_us = frame.frame, detector.stamp_us(frame)
    return KeyframeAnswer(moment.sample_token, stamp_us, moment.global_from_ego, boxes, cells, heatmap[tuple(cells.T)])


@dataclass(frozen=True)
class AnsweringTeacher:
    """A teacher, by the SHA-256 of its weights, that answers on scenes and keeps its answers in a folder; `cameras`:
    it sees images, not clouds."""

    detector: KeyframeDetector
    digest: str
    folder: Path
    cameras: bool = False

    def answers(self, dataset: Dataset, scene: str, on_keyframe: Callable[[], None]) -> SceneAnswers:
        """The answers on a scene: kept ones if they are this teacher's on these clouds or images.

        Raises DataError for a file of answers that is broken, a cloud or an image.
        """
        path = self.folder / scene_file(dataset.name, scene)
        wanted = scene_identity(dataset, scene, self.digest, cameras=self.cameras)
        answers = read_answers(path, wanted, dataset.classes) if path.is_file() else None
        if answers is None:
            found = []
            for frame in dataset.only(scene).frames:
                found.append(answer(self.detector, frame))
                on_keyframe()
            answers = SceneAnswers(self.detector.grid, tuple(found))
            write_answers(path, wanted, answers)
        else:
            for _ in answers.keyframes:
                on_keyframe()
        return answers


def scene_identity(dataset: Dataset, scene: str, teacher: str, *, cameras: bool = False) -> str:
    """A digest of the teacher and of what it sees of a scene's keyframes: their clouds, or their `cameras`."""
    seen = keyframe_digest(dataset.nusc, scene_samples(dataset.nusc, scene), cameras=cameras)
    return hashlib.sha256(f"{FORMAT} {teacher} {seen}".encode()).hexdigest()[:16]


def write_answers(path: Path, identity: str, answers: SceneAnswers) -> None:
    """Write a scene's file, whole or not at all."""
    frames = answers.keyframes
    boxes, cells = [len(frame.boxes) for frame in frames], [len(frame.cells) for frame in frames]
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            identity=np.array(identity),
            grid=np.array(list(asdict(answers.grid).values())),
            samples=np.array([frame.sample for frame in frames]),
            stamps_us=np.array([frame.stamp_us for frame in frames], np.int64),
            poses=np.array([frame.global_from_ego for frame in frames]).reshape(-1, 4, 4),
            box_counts=np.array(boxes, np.int64),
            boxes=np.concatenate([np.zeros((0, BOX_COLUMNS)), *(pack_boxes(frame.boxes) for frame in frames)]),
            labels=np.concatenate([np.zeros(0, np.int64), *(frame.boxes.label for frame in frames)]),
            cell_counts=np.array(cells, np.int64),
            cells=np.concatenate([np.zeros((0, 3), np.int16), *(frame.cells for frame in frames)]).astype(np.int16),
            values=np.concatenate([np.zeros(0), *(frame.values for frame in frames)]).astype(np.float16),
        )


def read_answers(path: Path, identity: str, classes: ClassList) -> SceneAnswers | None:
    """A scene's file; None if it is of other keyframes or clouds. Raises DataError if it is broken."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["identity"]) != identity:
                return None
            arrays = {name: stored[name] for name in stored.files}
        boxes = split(arrays["boxes"], arrays["box_counts"])
        labels = split(arrays["labels"], arrays["box_counts"])
        cells, values = (split(arrays[name], arrays["cell_counts"]) for name in ("cells", "values"))
        frames = [
            KeyframeAnswer(
                str(sample), int(stamp), pose, unpack_boxes(boxes[k], labels[k], classes), cells[k], values[k]
            )
            for k, (sample, stamp, pose) in enumerate(
                zip(arrays["samples"], arrays["stamps_us"], arrays["poses"], strict=True)
            )
        ]
        return SceneAnswers(BevGrid(*map(float, arrays["grid"])), tuple(frames))
    except (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, BadZipFile) as error:
        raise DataError(
            f"{path} holds no readable answers of a teacher ({error}); delete it, and the teacher answers again"
        ) from error
