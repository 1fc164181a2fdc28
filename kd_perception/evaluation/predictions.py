"""A student's detections on every keyframe of chosen scenes, without ROS: what `kd eval` and training runs score."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kd_perception.datasets.nuscenes import Frame, at_anchor
from kd_perception.datasets.timeline import CameraTimeline, camera_timelines
from kd_perception.errors import DataError
from kd_perception.evaluation.results import Results, sample_result
from kd_perception.runtime.bev_memory import MEMORY_USED
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.runtime.rig_pipelines import RigPipelines

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

SPACING = 0.75  # of a period: images are taken a little early rather than a whole exposure late


@dataclass(frozen=True)
class FrameFeed:
    """What a pipeline receives of a data set.

    camera_hz: a student with memory also sees the images between keyframes, at about this rate; 0: keyframes only.
    with_pose: without it a student has no odometry, and so no memory.
    camera_motion: each camera stands where it was at its own exposure.
    cameras: names of the cameras that are used, the others are masked; None: all.
    ignored: by camera name, which pixels (height, width) show the robot itself (runtime.ignore_mask).
    """

    camera_hz: float = 0.0
    with_pose: bool = True
    camera_motion: bool = False
    cameras: Collection[str] | None = None
    ignored: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictions:
    """Rows of a result file by sample, stage times (ms) of each keyframe that was processed, and how many used memory.

    blind: keyframes of which no camera could be used; they have no detections and are not processed. masked: how many
    keyframes lack the image of a camera, by its name.
    """

    results: Results
    stages: list[dict[str, float]]
    with_memory: int
    blind: int = 0
    masked: Counter[str] = field(default_factory=Counter)

    def notes(self) -> list[str]:
        """What a reader of the scores must know: keyframes without images, in sentences."""
        sentences = []
        if self.blind:
            sentences.append(f"{self.blind} keyframes have no camera that could be used: no detections")
        if self.masked:
            counts = ", ".join(f"{name} in {count}" for name, count in sorted(self.masked.items()))
            sentences.append(
                f"the tables lack images, their cameras are masked (of {len(self.results)} keyframes): {counts}"
            )
        return sentences


def detect_scenes(
    pipelines: RigPipelines,
    nusc: "Tables",
    scenes: Sequence[str],
    feed: FrameFeed = FrameFeed(),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Predictions:
    """Run a student on every keyframe of `scenes`, which may have different rigs; `progress(done, total)` after each.

    Raises DataError if an image file is missing or damaged: the score over fewer images is not the student's.
    """
    results: Results = {}
    stages = []
    with_memory = blind = 0
    masked: Counter[str] = Counter()
    timelines = camera_timelines(nusc, scenes)
    total = sum(int(timeline.is_keyframe.sum()) for timeline in timelines.values())
    for scene in scenes:
        pipeline = pipelines.of(timelines[scene].cameras)
        pipeline.reset(f"scene {scene} begins")
        for frame in _moments(timelines[scene], feed.camera_hz if pipeline.needs_pose else 0.0):
            detections = _detect(pipeline, frame, feed)
            if not frame.sample_token:
                continue
            results[frame.sample_token] = sample_result(frame.sample_token, detections.boxes, frame.global_from_ego)
            masked.update(frame.masked)
            if detections.blind:
                blind += 1
            else:
                stages.append(detections.stage_ms)
                with_memory += detections.memory_state == MEMORY_USED
            progress(len(results), total)
    return Predictions(results, stages, with_memory, blind, masked)


def _moments(timeline: CameraTimeline, camera_hz: float) -> Iterator[Frame]:
    """The keyframes, and the moments between them that lie SPACING of a period of `camera_hz` apart; 0: none."""
    keyframes = timeline.stamps_us[timeline.is_keyframe]
    last_us = -np.inf
    for index, stamp_us in enumerate(timeline.stamps_us):
        if not timeline.is_keyframe[index]:
            if not camera_hz:
                continue
            apart_us = min(stamp_us - last_us, *np.abs(keyframes - stamp_us))
            if apart_us < SPACING * 1e6 / camera_hz:
                continue
        last_us = stamp_us
        yield timeline.frame(index)


def _detect(pipeline: Pipeline, frame: Frame, feed: FrameFeed) -> FrameRecord:
    frame = at_anchor(frame) if feed.camera_motion else frame
    cameras = [image.camera for image in frame.images]
    pipeline.set_rig([replace(c, ignored=feed.ignored[c.name]) if c.name in feed.ignored else c for c in cameras])
    used = [feed.cameras is None or image.camera.name in feed.cameras for image in frame.images]
    images = [image.read() if is_used else None for image, is_used in zip(frame.images, used, strict=True)]
    pose = frame.global_from_ego if feed.with_pose else None
    detections = pipeline.detect(images, 1000 * frame.timestamp_us, pose)
    if detections.rejected:
        camera, reason = next(iter(detections.rejected.items()))
        path = next(image.path for image in frame.images if image.camera.name == camera)
        raise DataError(f"{path}: {reason}")
    return detections
