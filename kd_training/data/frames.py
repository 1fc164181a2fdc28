"""Training frames: what a nuScenes-format data set says about a keyframe, read once; files are opened when a sample is
made."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from nuscenes.utils.splits import create_splits_scenes

from kd_perception.datasets.nuscenes import (
    Frame,
    at_anchor,
    ground_truth_boxes,
    load_frame,
    open_nuscenes,
    scene_names,
    scene_samples,
)
from kd_perception.datasets.rigs import check_anchor
from kd_perception.datasets.tables import Tables
from kd_perception.datasets.timeline import CameraTimeline, camera_timelines
from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.student.spec import MemorySpec
from kd_training.config.sections import DataRoot

INTERVAL_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class TrainingFrame:
    """A keyframe with its ground truth in ego: boxes that a LiDAR or RADAR point hit, as the metric counts them.

    lidars: sample_data rows of its LiDARs, the first gives the cloud its time; none in a camera-only recording.
    With `camera_motion` each camera stands where it was at its own exposure, in this frame and in earlier ones.
    """

    frame: Frame
    boxes: Boxes
    lidars: tuple[dict, ...]
    nusc: Tables = field(repr=False)
    timeline: CameraTimeline = field(repr=False)
    camera_motion: bool = False

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

    def earlier(self, rng: np.random.Generator, shortest_s: float, longest_s: float) -> Frame | None:
        """One of the same scene's moments, drawn evenly, that lie so many seconds before; None without one."""
        indices = self.timeline.earlier(self.frame.timestamp_us, shortest_s, longest_s)
        if not len(indices):
            return None
        frame = self.timeline.frame(int(rng.choice(indices)))
        return at_anchor(frame) if self.camera_motion else frame


@dataclass(frozen=True)
class Dataset:
    """One opened data set: its tables, the scenes used, and all their keyframes."""

    nusc: Tables = field(repr=False)
    scenes: tuple[str, ...]
    frames: tuple[TrainingFrame, ...]


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
    timelines = camera_timelines(nusc, scenes)
    frames = tuple(
        _training_frame(nusc, token, timelines[scene], classes, camera_motion=camera_motion)
        for scene in scenes
        for token in scene_samples(nusc, scene)
    )
    return Dataset(nusc, scenes, frames)


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
) -> tuple[TrainingFrame, ...]:
    """All keyframes of several data sets; raises DataError without any, ConfigError if no scene has the anchor."""
    data_sets = [open_dataset(source, classes, camera_motion=camera_motion, anchor=anchor) for source in sources]
    check_anchor(anchor, [data_set.nusc for data_set in data_sets])
    frames = tuple(frame for data_set in data_sets for frame in data_set.frames)
    if not frames:
        raise DataError("data.roots hold no keyframes; name at least one data set with scenes")
    return frames


def check_clouds(frames: Sequence[TrainingFrame]) -> None:
    """Raise DataError if a keyframe has no LiDAR: a teacher sees nothing else."""
    without = [frame for frame in frames if not frame.lidars]
    if without:
        first = without[0]
        raise DataError(
            f"{len(without)} of {len(frames)} keyframes of data.roots have no LiDAR in their tables, which a teacher "
            f"needs; the first is sample {first.frame.sample_token} of scene '{first.frame.scene}' in "
            f"{first.nusc.dataroot}; choose other scenes (data.roots[].scenes)"
        )


def check_depth_labels(frames: Sequence[TrainingFrame]) -> None:
    """Raise ConfigError if no keyframe has a LiDAR, which gives a student its depth labels."""
    if not any(frame.lidars for frame in frames):
        raise ConfigError(
            "no keyframe of data.roots has a LiDAR, so there are no depth labels; set loss.depth=0 for a camera-only "
            "data set"
        )


def what_is_masked(frames: Sequence[TrainingFrame]) -> list[str]:
    """Sentences that count what keyframes lack: images of cameras, which are masked, and LiDARs."""
    sentences = []
    masked = Counter(name for frame in frames for name in frame.frame.masked)
    if masked:
        counts = ", ".join(f"{name} in {count}" for name, count in sorted(masked.items()))
        sentences.append(f"the tables lack images, their cameras are masked (of {len(frames)} keyframes): {counts}")
    if without := sum(not frame.lidars for frame in frames):
        sentences.append(f"{without} of {len(frames)} keyframes have no LiDAR and therefore no depth labels")
    return sentences


def check_intervals(frames: Sequence[TrainingFrame], memory: MemorySpec) -> None:
    """Raise ConfigError if the data has no pairs near the shortest or the longest interval: a student's file must not
    claim intervals that it was not trained on."""
    ages = [
        (frame.frame.timestamp_us - frame.timeline.stamps_us[index]) / 1e6
        for frame in frames
        for index in frame.timeline.earlier(frame.frame.timestamp_us, memory.shortest_s, memory.longest_s)
    ]
    if not ages:
        raise ConfigError(
            f"no two camera frames of data.roots are {memory.shortest_s:g} to {memory.longest_s:g} s apart; widen "
            "model.temporal.shortest and longest"
        )
    if min(ages) > memory.shortest_s + INTERVAL_TOLERANCE_S or max(ages) < memory.longest_s - INTERVAL_TOLERANCE_S:
        raise ConfigError(
            f"camera frames of data.roots are {min(ages):.2f} to {max(ages):.2f} s apart, but model.temporal says "
            f"{memory.shortest_s:g} to {memory.longest_s:g} s; set shortest and longest to what the data has"
        )


def _training_frame(
    nusc: Tables, token: str, timeline: CameraTimeline, classes: ClassList, *, camera_motion: bool
) -> TrainingFrame:
    frame = load_frame(nusc, token)
    boxes, points = ground_truth_boxes(nusc, token, frame.global_from_ego, classes)
    lidars = tuple(nusc.rig_of(token).lidar_rows(nusc, token))
    frame = at_anchor(frame) if camera_motion else frame
    return TrainingFrame(frame, boxes[points != 0], lidars, nusc, timeline, camera_motion)
