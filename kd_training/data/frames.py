"""Training frames: what a nuScenes-format data set says about a keyframe, read when it is asked for; files are opened
when a sample is made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Protocol, overload

import numpy as np
from cachetools import LRUCache

from kd_perception.datasets.devkit import create_splits_scenes
from kd_perception.datasets.nuscenes import (
    Frame,
    at_anchor,
    ground_truth_boxes,
    load_frame,
    open_nuscenes,
    scene_names,
    scene_row,
    scene_samples,
)
from kd_perception.datasets.rigs import check_anchor
from kd_perception.datasets.tables import Tables
from kd_perception.datasets.timeline import CameraTimeline, camera_timeline
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_training.config.sections import DataRoot
from kd_training.data.doubt import DoubtfulCells
from kd_training.data.frame_facts import FrameFacts, scene_facts
from kd_training.data.lacking_classes import LackingClasses
from kd_training.data.pseudo_labels import PseudoLabelFolder, PseudoLabels

NO_KEYFRAMES = "data.roots hold no keyframes; name at least one data set with scenes"
KEPT_FRAMES = 2048  # in memory per process; a frame with its boxes takes about 16 kB, and 10 ms to be made again


@dataclass(frozen=True)
class TrainingFrame:
    """A keyframe with its ground truth in ego: boxes that a LiDAR or RADAR point hit, as the metric counts them.

    lidars: sample_data rows of its LiDARs, the first gives the cloud its time; none in a camera-only recording.
    With `camera_motion` each camera stands where it was at its own exposure, in this frame and in earlier ones.
    `labelled` is False where a teacher found boxes. `doubt`: where an object may be that nobody labelled. `weight`:
    what its detection losses count.
    """

    frame: Frame
    boxes: Boxes
    lidars: tuple[dict, ...]
    nusc: Tables = field(repr=False)
    timeline: CameraTimeline = field(repr=False)
    camera_motion: bool = False
    labelled: bool = True
    doubt: DoubtfulCells | None = None
    weight: float = 1.0

    @property
    def lidar(self) -> dict:
        """The row of the first LiDAR; empty without one."""
        return self.lidars[0] if self.lidars else {}

    @property
    def key(self) -> str:
        """The keyframe's name among all data sets; sets rendered from one seed share their tokens."""
        return f"{self.nusc.dataroot}/{self.nusc.version}/{self.frame.sample_token}"

    @property
    def cameras(self) -> list[Camera]:
        """The rig, in order."""
        return [image.camera for image in self.frame.images]

    @property
    def facts(self) -> FrameFacts:
        """What a run asks of all its frames."""
        present = np.bincount(self.boxes.label, minlength=len(self.boxes.classes)) > 0
        lidars = tuple(row["channel"] for row in self.lidars)
        data_set = f"{self.nusc.dataroot}/{self.nusc.version}"
        return FrameFacts(self.key, data_set, self.frame.scene, lidars, self.frame.masked, present, self.labelled)

    def earlier(
        self, rng: np.random.Generator, shortest_s: float, longest_s: float, than: Frame | None = None
    ) -> Frame | None:
        """One of the same scene's moments, drawn evenly, that lie so many seconds before this frame, or before `than`
        of the same scene; None without one."""
        indices = self.timeline.earlier((than or self.frame).timestamp_us, shortest_s, longest_s)
        if not len(indices):
            return None
        frame = self.timeline.frame(int(rng.choice(indices)))
        return at_anchor(frame) if self.camera_motion else frame


class KeyFrames(Sequence[TrainingFrame]):
    """Keyframes that are made when they are asked for; the last KEPT_FRAMES stay in memory.

    A slice is a tuple. Of all of them there are only facts and, by scene, time lines.
    """

    def __init__(self, data_sets: Iterable["Dataset"]) -> None:
        self._places = [
            (data_set, scene, token)
            for data_set in data_sets
            for scene in data_set.scenes
            for token in scene_samples(data_set.nusc, scene)
        ]
        self._kept: LRUCache = LRUCache(KEPT_FRAMES)
        self._timelines: dict[tuple[int, str], CameraTimeline] = {}

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> TrainingFrame: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[TrainingFrame, ...]: ...
    def __getitem__(self, index: int | slice) -> TrainingFrame | tuple[TrainingFrame, ...]:
        """A frame, or the frames of a slice."""
        if isinstance(index, slice):
            return tuple(self[place] for place in range(len(self))[index])
        index = range(len(self))[index]
        if index not in self._kept:
            self._kept[index] = self._made(*self._places[index])
        return self._kept[index]

    @cached_property
    def facts(self) -> list[FrameFacts]:
        """Of each frame."""
        facts: list[FrameFacts] = []
        for _, places in groupby(self._places, key=lambda place: (id(place[0]), place[1])):
            data_sets, scenes, tokens = zip(*places, strict=True)
            data_set, scene = data_sets[0], scenes[0]
            found = scene_facts(data_set.nusc, scene, tokens, data_set.classes, data_set.labels_of(scene))
            if data_set.lacking is not None:
                found = list(map(data_set.lacking.fact, found))
            facts += found if data_set.replay is None else map(data_set.replay.fact, tokens, found)
        return facts

    @property
    def moments(self) -> list[tuple[CameraTimeline, np.ndarray]]:
        """The time line of each scene, and the times (F,) of its keyframes in microseconds."""
        scenes = {(id(data_set), scene): (data_set, scene) for data_set, scene, _ in self._places}
        lines = [self._timeline(*place) for place in scenes.values()]
        return [(line, line.stamps_us[line.is_keyframe]) for line in lines]

    def _timeline(self, data_set: "Dataset", scene: str) -> CameraTimeline:
        place = id(data_set), scene
        if place not in self._timelines:
            self._timelines[place] = camera_timeline(data_set.nusc, scene)
        return self._timelines[place]

    def _made(self, data_set: "Dataset", scene: str, token: str) -> TrainingFrame:
        nusc, frame = data_set.nusc, load_frame(data_set.nusc, token)
        lidars = tuple(nusc.rig_of(token).lidar_rows(nusc, token))
        labels = data_set.labels_of(scene)
        if labels is None:
            boxes, points = ground_truth_boxes(nusc, token, frame.global_from_ego, data_set.classes)
            boxes, doubt = boxes[points != 0], None
            if data_set.lacking is not None:
                boxes, doubt = data_set.lacking.complete(boxes, data_set.lacking.found_in(data_set.name, scene, token))
        else:
            boxes, doubt = labels[token].boxes, labels[token].doubt
        frame = at_anchor(frame) if data_set.camera_motion else frame
        timeline = self._timeline(data_set, scene)
        motion = data_set.camera_motion
        labelled = labels is None and data_set.lacking is None
        made = TrainingFrame(frame, boxes, lidars, nusc, timeline, motion, labelled=labelled, doubt=doubt)
        return made if data_set.replay is None else data_set.replay.frame(token, made)


def facts_of(frames: Sequence[TrainingFrame]) -> Sequence[FrameFacts]:
    """Facts of frames, without making them where they are made on demand."""
    return frames.facts if isinstance(frames, KeyFrames) else [frame.facts for frame in frames]


class Replayed(Protocol):
    """What a replay buffer says of its keyframes, by sample."""

    def fact(self, sample: str, found: FrameFacts) -> FrameFacts:
        """The facts with who labelled the keyframe and how often it is drawn."""

    def frame(self, sample: str, made: TrainingFrame) -> TrainingFrame:
        """The frame with who labelled it, what is in doubt, and its weight."""


@dataclass(frozen=True)
class Dataset:
    """One opened data set: its tables, the scenes used, and how its keyframes are read.

    `labels`: a teacher's, which take the place of the tables' annotations; those are not looked at. `replay`: what a
    replay buffer says of its keyframes besides their annotations. `lacking`: classes that the annotations do not have.
    """

    nusc: Tables = field(repr=False)
    scenes: tuple[str, ...]
    classes: ClassList = field(repr=False)
    camera_motion: bool = False
    labels: PseudoLabelFolder | None = None
    replay: "Replayed | None" = None
    lacking: LackingClasses | None = None

    @property
    def name(self) -> str:
        """FOLDER/VERSION."""
        return f"{self.nusc.dataroot}/{self.nusc.version}"

    def only(self, scene: str) -> "Dataset":
        """The same with one of its scenes."""
        return replace(self, scenes=(scene,))

    def labels_of(self, scene: str) -> Mapping[str, PseudoLabels] | None:
        """A teacher's labels of a scene by sample token; None where the annotations count."""
        return None if self.labels is None else self.labels.of(self.name, scene)

    @cached_property
    def frames(self) -> KeyFrames:
        """All keyframes."""
        return KeyFrames([self])


def open_dataset(
    source: DataRoot, classes: ClassList = NUSCENES, *, camera_motion: bool = False, anchor: str = ""
) -> Dataset:
    """Read a data set's keyframes; `camera_motion` as in TrainingFrame, `anchor` as in scene_rigs.

    Raises DataError naming what is missing.
    """
    if not source.root:
        raise ConfigError("a data set has no folder; give data.root=FOLDER, or a root for every entry of data.roots")
    nusc = open_nuscenes(Path(source.root), source.version, anchor)
    scenes = _chosen_scenes(nusc, source)
    for scene in scenes:
        _check_cameras(nusc, scene)
    return Dataset(nusc, scenes, classes, camera_motion)


def _check_cameras(nusc: Tables, scene: str) -> None:
    """Raise DataError for a scene that is not there, or has no camera."""
    if not nusc.rigs[scene_row(nusc, scene)["token"]].cameras:
        raise DataError(f"scene '{scene}' of {nusc.dataroot} has no camera; choose scenes with cameras")


def _chosen_scenes(nusc: Tables, source: DataRoot) -> tuple[str, ...]:
    """The scenes named; those of an official split that the tables hold; or all."""
    if not source.split:
        return tuple(source.scenes) or tuple(scene_names(nusc))
    if source.scenes:
        raise ConfigError(f"{source.root} has both scenes and split {source.split}; give one of them")
    splits = create_splits_scenes()
    if source.split not in splits:
        raise ConfigError(f"'{source.split}' is no split of nuScenes; it has {', '.join(sorted(splits))}")
    scenes = tuple(name for name in scene_names(nusc) if name in set(splits[source.split]))
    if not scenes:
        raise DataError(f"{source.root} {source.version} has no scene of the split {source.split}; name scenes instead")
    return scenes


def open_frames(
    sources: Sequence[DataRoot], classes: ClassList = NUSCENES, *, camera_motion: bool = False, anchor: str = ""
) -> KeyFrames:
    """All keyframes of several data sets; raises DataError without any, ConfigError if no scene has the anchor."""
    data_sets = [open_dataset(source, classes, camera_motion=camera_motion, anchor=anchor) for source in sources]
    check_anchor(anchor, [data_set.nusc for data_set in data_sets])
    frames = KeyFrames(data_sets)
    if not frames:
        raise DataError(NO_KEYFRAMES)
    return frames
