"""Frames for calibration and training: what a student's pipeline makes of a data set or a bag, and what the FP32 file
answers. No label is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.timeline import CameraTimeline, camera_timelines
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import Engine, Tensor
from kd_perception.errors import CalibrationError, DataError
from kd_perception.options.detector import DetectorOptions
from kd_perception.runtime.pipeline import HEATMAP_OUTPUT, IMAGES_INPUT, Pipeline
from kd_perception.student.spec import MEMORY_INPUTS, Student

SEQUENCE = 5  # keyframes in a row, unless there are more frames to take than that of every scene
MEMORY_VALID = MEMORY_INPUTS[2]
FEWEST = 8  # frames from which a range can be taken
PLAIN = 2.0  # standard deviation of pixel values (0 to 255) below which an image shows nothing
SEEN = 0.1  # heatmap value of an object that the student is ready to show
REMEMBERED = 0.5  # share of frames with a memory that the ranges of a student with memory need
RECOGNISED = 0.1  # share of frames with such an object below which the frames are foreign to the student


@dataclass(frozen=True)
class RecordedFrame:
    """The file's inputs and the FP32 outputs of a moment, by name; float arrays of a frame's own in float16."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]

    @property
    def cameras(self) -> int:
        """How many images it has."""
        return len(self.inputs[IMAGES_INPUT])


class Recorder:
    """An engine that keeps what it is given and what it answers."""

    not_kept = ""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.name = engine, engine.name
        self.frames: list[RecordedFrame] = []

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As the engine's."""
        outputs = self.engine.run(inputs)
        self.frames.append(RecordedFrame(*({n: _kept(v) for n, v in part.items()} for part in (inputs, outputs))))
        return outputs


def _kept(array: Tensor) -> np.ndarray:
    """A constant of the rig as it is, of everything else a copy, of large float arrays a smaller one."""
    array = array if isinstance(array, np.ndarray) else array.numpy()  # held by a GPU
    if not array.flags.writeable:
        return array
    return array.astype(np.float16) if array.dtype == np.float32 and array.ndim > 1 else array.copy()


@dataclass(frozen=True)
class CalibrationSource:
    """Where frames come from: a data set's folder and version (all scenes, or `scenes`), or a bag.

    `seed` chooses which frames of a data set; `count` is how many at most.
    """

    dataroot: Path | None
    version: str
    bag: Path | None
    count: int
    seed: int = 0
    scenes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return f"bag {self.bag.name}" if self.bag is not None else f"{self.dataroot.name} {self.version}"

    def record(self, student: Student, progress: Callable[[int, int], None]) -> list[RecordedFrame]:
        """Run the FP32 file over the frames, in order, with its memory; raises DataError if they are of no use."""
        found = self._of_bag(student, progress) if self.bag is not None else self._of_data(student, progress)
        check_frames(found, self.name)
        return found

    def _of_data(self, student: Student, progress: Callable[[int, int], None]) -> list[RecordedFrame]:
        nusc = open_nuscenes(self.dataroot, self.version)
        timelines = camera_timelines(nusc, self.scenes or scene_names(nusc))
        pieces = _pieces(list(timelines.values()), self.count, self.seed)
        total, frames, pipelines = sum(len(indices) for _, indices in pieces), [], {}
        for timeline, indices in pieces:
            if timeline.cameras not in pipelines:
                pipelines[timeline.cameras] = _recording_pipeline(student, timeline.cameras)
            recorder, pipeline = pipelines[timeline.cameras]
            pipeline.reset(f"scene {timeline.scene}")
            for index in indices:
                frame = timeline.frame(index)
                pipeline.set_rig([image.camera for image in frame.images])
                pipeline.detect(
                    [image.read() for image in frame.images], 1000 * frame.timestamp_us, frame.global_from_ego
                )
                frames += recorder.frames
                recorder.frames.clear()
                progress(len(frames), total)
        for _, pipeline in pipelines.values():
            pipeline.close()
        return frames

    def _of_bag(self, student: Student, progress: Callable[[int, int], None]) -> list[RecordedFrame]:
        from kd_perception.parity.bag_frames import BagWalk, detect
        from kd_perception.parity.inputs import detector_of, find_inputs

        inputs = find_inputs(self.bag, (), DetectorOptions().camera_names)
        options = detector_of(inputs, DetectorOptions())
        recorder, pipeline = _recording_pipeline(student, len(inputs.cameras))
        walk = BagWalk(inputs, options, needs_pose=pipeline.needs_pose)
        resets = 0
        for record in islice((record for step in walk.steps() for record in step.frames), self.count):
            try:
                detect(pipeline, record, resets)
            except CalibrationError:
                pass  # the detector rejects such a frame, too
            resets = record.resets
            progress(len(recorder.frames), self.count)
        pipeline.close()
        return recorder.frames


def _recording_pipeline(student: Student, cameras: int) -> tuple[Recorder, Pipeline]:
    recorder = Recorder(open_engine(DetectorOptions.engine, student, cameras))
    return recorder, Pipeline(student, recorder, cameras)


def _pieces(timelines: Sequence[CameraTimeline], count: int, seed: int) -> list[tuple[CameraTimeline, np.ndarray]]:
    """At most `count` keyframes: of some scenes one sequence each, from a random start, so that memory is used."""
    rng = np.random.default_rng(seed)
    scenes = max(1, count // SEQUENCE)
    if scenes < len(timelines):
        timelines = [timelines[i] for i in sorted(rng.choice(len(timelines), scenes, replace=False))]
    pieces = []
    for place, timeline in enumerate(timelines):
        keys = np.flatnonzero(timeline.is_keyframe)
        wanted = min(len(keys), count * (place + 1) // len(timelines) - count * place // len(timelines))
        start = rng.integers(len(keys) - wanted + 1)
        pieces.append((timeline, keys[start : start + wanted]))
    return [piece for piece in pieces if len(piece[1])]


def check_frames(frames: Sequence[RecordedFrame], name: str) -> None:
    """Raise DataError if there are too few frames, or all show nothing, or nothing that the student knows."""
    if len(frames) < FEWEST:
        raise DataError(
            f"{name} gave {len(frames)} frames with an image, but ranges need at least {FEWEST}; give more data"
        )
    if max(_contrast(frame.inputs[IMAGES_INPUT]) for frame in frames) < PLAIN:
        raise DataError(f"all {len(frames)} frames of {name} are of one colour; calibrate with real images")
    different = len({frame.inputs[IMAGES_INPUT].tobytes() for frame in frames})
    if different < FEWEST:
        raise DataError(
            f"the {len(frames)} frames of {name} hold {different} different ones, but ranges need at least {FEWEST}: "
            "cameras are frozen, or the robot's world is; calibrate with a drive"
        )
    memories = [float(frame.inputs[MEMORY_VALID][0]) for frame in frames if MEMORY_VALID in frame.inputs]
    if memories and np.mean(memories) < REMEMBERED:
        raise DataError(
            f"{100 * np.mean(memories):.0f} % of the {len(frames)} frames of {name} have a memory, which this student "
            "uses: give sequences with poses, without jumps, and more frames"
        )
    seen = np.mean([sees_something(frame) for frame in frames])
    if seen < RECOGNISED:
        raise DataError(
            f"the student recognises something in {100 * seen:.0f} % of the {len(frames)} frames of {name}: they are "
            "foreign to it (other lenses, mounting or scenes?); calibrate with what it was trained for"
        )


def sees_something(frame: RecordedFrame) -> bool:
    """Whether the FP32 file shows an object in it."""
    return float(frame.outputs[HEATMAP_OUTPUT].max()) >= SEEN


def _contrast(images: np.ndarray) -> float:
    """The greatest standard deviation of a colour within one image of a frame (cameras, height, width, 3)."""
    return float(images.std(axis=(1, 2)).max())
