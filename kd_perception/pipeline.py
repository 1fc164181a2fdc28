"""Images of a calibrated rig in, boxes out: preprocess -> engine -> decode, for the ROS node and `kd eval` alike.

Geometry tables follow the calibration: they are built when the rig is set and only rebuilt when it changes.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_perception.boxes import Boxes
from kd_perception.decode import decode
from kd_perception.engines.base import open_engine
from kd_perception.errors import CalibrationError, DataError
from kd_perception.preprocess import fit_image, network_image
from kd_perception.rig import Camera
from kd_perception.student import OUTPUTS, Student
from kd_perception.view_tables import build_tables

IMAGES_INPUT, VALID_INPUT = "images", "camera_valid"
HEATMAP_OUTPUT, REGRESSION_OUTPUT = OUTPUTS


@dataclass(frozen=True)
class Detections:
    """What one set of images shows.

    boxes in base_link at the anchor image's stamp, best score first; stage_ms: wall-clock milliseconds of 'preprocess'
    (JPEG decode and resize), 'inference', 'decode' and 'total'; missing: names of cameras without an image; rejected:
    camera name -> sentence why its image could not be used.
    """

    boxes: Boxes
    stage_ms: dict[str, float]
    missing: tuple[str, ...]
    rejected: dict[str, str]


class Pipeline:
    """A student opened for a rig of a fixed number of cameras. Not thread-safe."""

    def __init__(
        self, student: Student, engine: str = "auto", cameras: int = 6, score_threshold: float = 0.1, threads: int = 0
    ) -> None:
        """Open the engine (kd_perception.engines; `threads` 0 lets it choose); raises EngineError if none can run the
        file."""
        self.student = student
        self.score_threshold = score_threshold
        self.engine = open_engine(engine, student, cameras, threads)
        self._camera_count = cameras
        self._fingerprints: tuple[str, ...] = ()
        self._cameras: tuple[Camera, ...] = ()
        self._network_from_image: tuple[np.ndarray, ...] = ()
        self._tables: dict[str, np.ndarray] = {}
        self._images = np.zeros((cameras, *student.spec.image_size, 3), np.uint8)

    def set_rig(self, cameras: Sequence[Camera]) -> bool:
        """Use this calibration from now on, anchor first; True if it differs from the last and the tables were rebuilt.

        Raises CalibrationError if the number of cameras is not the one the engine was opened for.
        """
        if len(cameras) != self._camera_count:
            raise CalibrationError(
                f"the rig has {len(cameras)} cameras but the pipeline was opened for {self._camera_count}; open it for "
                "the rig's count"
            )
        fingerprints = tuple(camera.fingerprint() for camera in cameras)
        if fingerprints == self._fingerprints:
            return False
        spec = self.student.spec
        self._network_from_image = tuple(
            fit_image((camera.height, camera.width), spec.image_size) for camera in cameras
        )
        self._tables = build_tables(spec, cameras, self._network_from_image)
        self._cameras, self._fingerprints = tuple(cameras), fingerprints
        return True

    def detect(self, images: Sequence[bytes | np.ndarray | None]) -> Detections:
        """Boxes seen in one set of images: JPEG or PNG bytes or RGB arrays in rig order, None for a missing camera.

        An image that cannot be used counts as missing and is reported in `rejected`; with no usable image there are no
        boxes. Raises CalibrationError before `set_rig`, ValueError if the number of images is not the rig's.
        """
        start = time.perf_counter()
        inputs, missing, rejected = self.prepare(images)
        prepared = time.perf_counter()
        outputs = self.engine.run(inputs) if inputs[VALID_INPUT].any() else None
        inferred = time.perf_counter()
        boxes = Boxes.empty() if outputs is None else self.decode(outputs)
        done = time.perf_counter()
        moments = {
            "preprocess": prepared - start,
            "inference": inferred - prepared,
            "decode": done - inferred,
            "total": done - start,
        }
        return Detections(boxes, {stage: 1e3 * seconds for stage, seconds in moments.items()}, missing, rejected)

    def prepare(
        self, images: Sequence[bytes | np.ndarray | None]
    ) -> tuple[dict[str, np.ndarray], tuple[str, ...], dict[str, str]]:
        """The engine's inputs (`images` is overwritten by the next call), missing cameras, and rejected images with the
        reason."""
        if not self._cameras:
            raise CalibrationError("the pipeline has no calibration yet; call set_rig with the rig's cameras first")
        if len(images) != len(self._cameras):
            raise ValueError(
                f"{len(images)} images for a rig of {len(self._cameras)} cameras; pass None for a missing camera"
            )
        valid = np.zeros(len(images), np.float32)
        missing, rejected = [], {}
        for i, (image, camera, affine) in enumerate(zip(images, self._cameras, self._network_from_image, strict=True)):
            self._images[i] = 0
            if image is None:
                missing.append(camera.name)
                continue
            try:
                self._images[i] = network_image(
                    image, (camera.height, camera.width), affine, self.student.spec.image_size
                )
                valid[i] = 1.0
            except DataError as error:
                rejected[camera.name] = f"camera '{camera.name}': {error}"
        return {IMAGES_INPUT: self._images, VALID_INPUT: valid, **self._tables}, tuple(missing), rejected

    def decode(self, outputs: dict[str, np.ndarray]) -> Boxes:
        """Boxes of the engine's raw outputs, at this pipeline's score threshold."""
        return decode(outputs[HEATMAP_OUTPUT], outputs[REGRESSION_OUTPUT], self.student.spec.grid, self.score_threshold)
