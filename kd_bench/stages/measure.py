"""Time per stage of the pipeline next to eager PyTorch: in turns on the same frames, so that noise hits both alike."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from kd_bench.cut_student import split_student
from kd_bench.dataset_frames import BenchFrame
from kd_bench.progress import Show, silent
from kd_bench.stages.parity import RAW_TOLERANCE, raw_errors
from kd_perception.engines.base import Engine, open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.messages.markers import MarkerFrame
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.student.preprocess import coarse_image, fit_camera
from kd_perception.student.spec import Student
from kd_training.checkpoints.export import example_memory
from kd_training.checkpoints.models import load_model
from kd_training.models.students.camera_student import CameraStudent

IMAGE_NETWORK, VIEW_TRANSFORM, BEV_NETWORK, WHOLE = "image network", "view transform", "BEV network", "whole network"
JPEG_DECODE, PREPROCESS, DECODE, MESSAGES = "JPEG decode", "preprocess", "decode", "messages"
STAGES = (PREPROCESS, JPEG_DECODE, WHOLE, IMAGE_NETWORK, VIEW_TRANSFORM, BEV_NETWORK, DECODE, MESSAGES)
PARTS = (JPEG_DECODE, IMAGE_NETWORK, VIEW_TRANSFORM, BEV_NETWORK)  # contained in the stage above them
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds per frame: `engine` by stage, `eager` by memory layout and stage; detections per frame (median)."""

    engine_name: str
    engine: dict[str, list[float]]
    eager: dict[str, dict[str, list[float]]]
    detections: float

    def better_layout(self) -> str:
        """The memory layout in which eager PyTorch needs less time for the whole network."""
        return min(self.eager, key=lambda layout: np.median(self.eager[layout][WHOLE]))


class Stopwatch:
    """Collects milliseconds by name."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what happens inside the with block."""
        start = time.perf_counter()
        yield
        self.times[name].append(1e3 * (time.perf_counter() - start))


def measure_stages(
    student: Student,
    frames: Sequence[BenchFrame],
    engine: str,
    threads: int = 0,
    progress: Show = silent,
) -> StageTimes:
    """Time every stage once a frame, after a first unmeasured frame.

    Raises EngineError if the engine is missing, or the weights next to the student file.
    """
    if threads:
        torch.set_num_threads(threads)
    cameras = len(frames[0].cameras)
    pipeline = Pipeline(student, engine, cameras, PipelineOptions(threads=threads))
    weights = student.path.with_suffix(".safetensors")
    eager = {name: EagerStudent(load_model(weights), layout) for name, layout in LAYOUTS.items()}
    watch, eager_watches = Stopwatch(), {name: Stopwatch() for name in eager}
    detections = []
    with TemporaryDirectory() as folder:
        parts = open_parts(student, pipeline.engine.name, cameras, threads, Path(folder))
        for i, frame in enumerate([frames[0], *frames]):
            if i == 1:  # the first frame warmed up caches and memory pools
                watch, eager_watches = Stopwatch(), {name: Stopwatch() for name in eager}
            pipeline.set_rig(frame.cameras)
            inputs = _time_preprocessing(pipeline, frame, watch)
            outputs = _time_engine(pipeline.engine, parts, inputs, watch)
            for name, model in eager.items():
                model.run(inputs, outputs, eager_watches[name])
            detections.append(_time_answer(pipeline, outputs, watch))
            progress(i, len(frames))
    times = {name: dict(item.times) for name, item in eager_watches.items()}
    return StageTimes(pipeline.engine.name, dict(watch.times), times, float(np.median(detections)))


def open_parts(student: Student, engine: str, cameras: int, threads: int, folder: Path) -> dict[str, Engine]:
    """The three networks of the student as engines of their own, by stage."""
    split = split_student(student, cameras, folder)
    files = {IMAGE_NETWORK: split.image_network, VIEW_TRANSFORM: split.view_transform, BEV_NETWORK: split.bev_network}
    return {stage: open_engine(engine, part, cameras, EngineOptions(threads=threads)) for stage, part in files.items()}


class EagerStudent:
    """The same network as plain PyTorch modules, float32, in one memory layout throughout."""

    def __init__(self, model: CameraStudent, layout: torch.memory_format) -> None:
        self.model = model.to(memory_format=layout)
        for module in (model.backbone, model.encoder):  # convolutions follow their input's layout
            module.register_forward_pre_hook(lambda _, args: (args[0].contiguous(memory_format=layout),))

    def run(self, inputs: dict[str, np.ndarray], expected: dict[str, np.ndarray], watch: Stopwatch) -> None:
        """Time the parts and the whole; raises RuntimeError if the answers are not the engine's."""
        model = self.model
        tensors = [torch.from_numpy(np.require(inputs[name], requirements="CW")) for name in model.input_names]
        cameras, tables, memory = model.split_inputs(tensors)
        with torch.inference_mode():
            with watch(IMAGE_NETWORK):
                lifted = model.image_network(cameras)
            with watch(VIEW_TRANSFORM):
                bev = model.bev_map(lifted, cameras, tables, memory)
            with watch(BEV_NETWORK):
                model.bev_network(bev, *memory)
            with watch(WHOLE):
                outputs = model(*tensors)
        errors = raw_errors(dict(zip(model.spec.outputs, (value.numpy() for value in outputs), strict=True)), expected)
        if max(errors.values()) > RAW_TOLERANCE:
            raise RuntimeError(f"PyTorch and the engine disagree by {max(errors.values()):.1e}: times would mislead")


def _time_preprocessing(pipeline: Pipeline, frame: BenchFrame, watch: Stopwatch) -> dict[str, np.ndarray]:
    sizes = [(camera.height, camera.width) for camera in frame.cameras]
    affines = [fit_camera(camera, pipeline.student.spec.image_size) for camera in frame.cameras]
    with watch(JPEG_DECODE):
        for image, size, affine in zip(frame.images, sizes, affines, strict=True):
            if image is not None:
                coarse_image(image, size, affine)
    with watch(PREPROCESS):
        record = FrameRecord(images=frame.images)
        pipeline.prepare(record)
    inputs, spec = record.inputs, pipeline.student.spec
    if spec.memory is None:
        return inputs
    return inputs | example_memory(
        spec, np.zeros(spec.memory_shape, np.float32)
    )  # times do not depend on what is remembered


def _time_engine(
    engine: Engine, parts: dict[str, Engine], inputs: dict[str, np.ndarray], watch: Stopwatch
) -> dict[str, np.ndarray]:
    tensors = dict(inputs)
    for stage, part in parts.items():
        with watch(stage):
            tensors.update(part.run(tensors))
    with watch(WHOLE):
        return engine.run(inputs)


def _time_answer(pipeline: Pipeline, outputs: dict[str, np.ndarray], watch: Stopwatch) -> int:
    """Decoding, and what a node publishes, serialised; returns the number of boxes."""
    from rclpy.serialization import serialize_message

    from kd_perception.ros.detections import to_detection_array
    from kd_perception.ros.live import LIVE

    with watch(DECODE):
        boxes = pipeline.decode(outputs)
    with watch(MESSAGES):
        serialize_message(to_detection_array(boxes, 0, "base_link", pipeline.student.model_id))
        serialize_message(MarkerFrame(LIVE, "base_link", 0).detections(boxes))
    return len(boxes)
