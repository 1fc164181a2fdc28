"""Images of a calibrated rig in, boxes out: preprocess -> engine -> decode, for the ROS node and `kd eval` alike.

Geometry inputs follow the calibration: they are built when the rig is set and only rebuilt when it changes. `prepare`
and `infer`, the halves of `detect`, may run in two threads: the next images are then decoded while the engine runs.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kd_perception.engines.base import open_engine
from kd_perception.engines.fallback import FallbackEngine
from kd_perception.engines.protocol import Engine, EngineOptions, Tensor
from kd_perception.errors import CalibrationError, DataError, MemoryLostError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera, same_rig
from kd_perception.options.detector import DetectorOptions
from kd_perception.runtime.bev_memory import MEMORY_NONE, BevMemory, Recall
from kd_perception.runtime.frame import EncodedOrRgb, FrameRecord
from kd_perception.runtime.snapshot import FrameSnapshot, snapshot_of
from kd_perception.student.decode import decode
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.preprocess import fit_views, ignored_pixels, network_image
from kd_perception.student.spec import MEMORY_OUTPUT, OUTPUTS, Student

IMAGES_INPUT, VALID_INPUT = "images", "camera_valid"
HEATMAP_OUTPUT, REGRESSION_OUTPUT = OUTPUTS
IN_FLIGHT = 3  # prepared frames that stay valid: one in the engine, one that waits, one being prepared
DECODERS = 2  # images of a frame that are decoded at the same time


@dataclass(frozen=True)
class PipelineOptions(EngineOptions):
    """How a pipeline opens its engine and runs its student.

    score_threshold: lowest score of a box that is returned; views: network images of each camera (student.preprocess).
    watch: gets a copy of each frame's stages when it is inferred; None costs nothing.
    """

    score_threshold: float = DetectorOptions.score_threshold
    views: int = 1
    watch: Callable[[FrameSnapshot], None] | None = None


PIPELINE_DEFAULTS = PipelineOptions()


@dataclass(frozen=True, eq=False)
class _View:
    """One network image of a camera: the affine map (3, 3) of its pixels, and which are ignored (height, width)."""

    camera: Camera
    network_from_image: np.ndarray
    ignored: np.ndarray | None


class Pipeline:
    """A student opened for a rig of a fixed number of cameras.

    Two threads may share it: one calls `set_rig` and `prepare`, the other `infer`. `close` ends its decoder threads.
    """

    def __init__(
        self,
        student: Student,
        engine: str | Engine = DetectorOptions.engine,
        cameras: int = 6,
        options: PipelineOptions = PIPELINE_DEFAULTS,
    ) -> None:
        """Open the engine by name, or take one that is open; raises EngineError if none can run the file."""
        self.student = student
        self.score_threshold, self.views = options.score_threshold, options.views
        self._watch = options.watch
        if isinstance(engine, str):
            engine = open_engine(engine, student, cameras * options.views, options)
        self.engine = engine
        spec = student.spec
        self._memory = None if spec.memory is None else BevMemory(spec.memory, spec.grid)
        self._reset_reason = ""  # of a student without memory, which reports it, too
        self._camera_count = cameras
        self._cameras: tuple[Camera, ...] = ()
        self._seen: tuple[_View, ...] = ()  # of every camera its views
        self._geometry: dict[str, np.ndarray] = {}
        buffers = [np.zeros((cameras * options.views, *spec.image_size, 3), np.uint8) for _ in range(IN_FLIGHT)]
        self._buffers = itertools.cycle(buffers)
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decode-image")

    def close(self) -> None:
        """End the threads that decode images."""
        self._decoders.shutdown()

    def set_rig(self, cameras: Sequence[Camera]) -> bool:
        """Use this calibration from now on, anchor first; True if it differs from the last.

        Raises CalibrationError if the number of cameras is not the one the engine was opened for.
        """
        if len(cameras) != self._camera_count:
            raise CalibrationError(
                f"the rig has {len(cameras)} cameras but the pipeline was opened for {self._camera_count}; open it for "
                "the rig's count"
            )
        if same_rig(cameras, self._cameras):
            return False
        spec = self.student.spec
        self._seen = tuple(view for camera in cameras for view in self._views_of(camera))
        affines = [view.network_from_image for view in self._seen]
        self._geometry = geometry_inputs(spec, [view.camera for view in self._seen], affines)
        for array in self._geometry.values():
            array.flags.writeable = False  # engines may take them as constants until the rig changes
        self._cameras = tuple(cameras)
        return True

    def detect(
        self,
        images: Sequence[EncodedOrRgb | None],
        stamp_ns: int | None = None,
        odom_from_base: np.ndarray | None = None,
    ) -> FrameRecord:
        """The record of one set of images, with its boxes: `prepare` and `infer` in one.

        `images`: JPEG or PNG bytes or RGB arrays in rig order, None for a missing camera. An image that cannot be used
        counts as missing and is reported in `rejected`; with no usable image the record is `blind`. Stamp and pose are
        for students with memory. Raises as the two halves do.
        """
        record = FrameRecord(stamp_ns=stamp_ns, images=images, odom_from_base=odom_from_base)
        self.prepare(record)
        self.infer(record)
        return record

    def prepare(self, record: FrameRecord) -> None:
        """Decode and resize the record's images, several at once.

        Raises CalibrationError before `set_rig`, ValueError if the number of images is not the rig's.
        """
        start = time.perf_counter()
        images, record.model = record.images, self.student.model_id
        if not self._cameras:
            raise CalibrationError("the pipeline has no calibration yet; call set_rig with the rig's cameras first")
        if len(images) != len(self._cameras):
            raise ValueError(
                f"{len(images)} images for a rig of {len(self._cameras)} cameras; pass None for a missing camera"
            )
        buffer = next(self._buffers)
        each = [image for image in images for _ in range(self.views)]
        problems = list(self._decoders.map(self._prepare_image, buffer, each, self._seen))
        pairs = list(zip(self._cameras, images, problems[:: self.views], strict=True))  # views share what is wrong
        record.missing = tuple(camera.name for camera, image, _ in pairs if image is None)
        record.rejected |= {
            camera.name: f"camera '{camera.name}': {problem}" for camera, _, problem in pairs if problem
        }
        valid = np.array([image is not None and not problem for _, image, problem in pairs], np.float32)
        record.blind = not valid.any()
        record.inputs = {IMAGES_INPUT: buffer, VALID_INPUT: np.repeat(valid, self.views), **self._geometry}
        record.stage_ms["preprocess"] = 1e3 * (time.perf_counter() - start)

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """The rig in use; empty before `set_rig`."""
        return self._cameras

    @property
    def engine_failures(self) -> tuple[str, ...]:
        """A sentence for each engine that was given up while running."""
        return self.engine.failures if isinstance(self.engine, FallbackEngine) else ()

    @property
    def needs_pose(self) -> bool:
        """Whether `infer` wants stamp and pose: students with memory do."""
        return self._memory is not None

    def reset(self, reason: str) -> None:
        """Forget the past before the next `infer`, whose record reports the reason."""
        if self._memory is not None:
            self._memory.reset(reason)
        else:
            self._reset_reason = reason

    def infer(self, record: FrameRecord) -> None:
        """Run the engine on a prepared record, with memory if the student has one, and decode its outputs.

        Frames must come in the order of their stamps; see `runtime.bev_memory` for what happens without a pose or when
        it jumps. Raises ValueError if a student with memory gets no stamp.
        """
        start = time.perf_counter()
        outputs, recall = self._run(record)
        inferred = time.perf_counter()
        if outputs is not None:
            record.boxes = self.decode(outputs)
        record.engine = self.engine.name
        record.memory_state, record.reset_reason = recall.state, recall.reset_reason
        times = record.stage_ms
        times["inference"] = 1e3 * (inferred - start)
        times["decode"] = 1e3 * (time.perf_counter() - inferred)
        times["total"] = times["preprocess"] + times["inference"] + times["decode"]
        if self._watch is not None:
            self._watch(snapshot_of(record, recall.inputs, outputs or {}, self.student.spec))

    def _run(self, record: FrameRecord) -> tuple[dict[str, Tensor] | None, Recall]:
        """The engine's outputs, None if no camera has an image, and what was recalled for them."""
        inputs, stamp_ns, odom_from_base = record.inputs, record.stamp_ns, record.odom_from_base
        if self._memory is None:
            reason, self._reset_reason = self._reset_reason, ""
            return None if record.blind else self.engine.run(inputs), Recall({}, MEMORY_NONE, reason)
        if stamp_ns is None:
            raise ValueError("a student with memory needs the stamp (ns) of every frame, and odom_from_base")
        recall = self._memory.recall(stamp_ns, odom_from_base)
        if record.blind:
            return None, recall
        name = self.engine.name
        try:
            outputs = self.engine.run({**inputs, **recall.inputs})
        except MemoryLostError as error:
            self._memory.reset(str(error))
            recall = self._memory.recall(stamp_ns, odom_from_base)
            outputs = self.engine.run({**inputs, **recall.inputs})
        if self.engine.name != name and len(self._memory):  # what the old engine holds is foreign to the new
            self._memory.reset(f"engine {self.engine.name} took over from {name}")
        self._memory.remember(stamp_ns, odom_from_base, outputs[MEMORY_OUTPUT])
        return outputs, recall

    def _views_of(self, camera: Camera) -> list[_View]:
        size, ignored = self.student.spec.image_size, camera.ignored
        return [
            _View(camera, affine, None if ignored is None else ignored_pixels(ignored, affine, size))
            for affine in fit_views(camera, size, self.views)
        ]

    def _prepare_image(self, target: np.ndarray, image: EncodedOrRgb | None, view: _View) -> str:
        """Write the network's view of one image into `target`; '' or a sentence why it is left black."""
        problem = ""
        if image is not None:
            size = (view.camera.height, view.camera.width)
            try:
                target[:] = network_image(image, size, view.network_from_image, self.student.spec.image_size)
                if view.ignored is not None:
                    target[view.ignored] = 0
                return ""
            except DataError as error:
                problem = str(error)
        target[:] = 0
        return problem

    def decode(self, outputs: dict[str, np.ndarray]) -> Boxes:
        """Boxes of the engine's raw outputs, at this pipeline's score threshold."""
        spec = self.student.spec
        heatmap, regression = outputs[HEATMAP_OUTPUT], outputs[REGRESSION_OUTPUT]
        return decode(heatmap, regression, spec.grid, self.score_threshold, classes=spec.classes, coding=spec.coding)
