"""The stages of a frame kept as arrays: which images joined, their pixels, tables, outputs and boxes, a file a frame.

`kd parity` compares those of the running node with those of the offline pipeline, stage by stage.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kd_perception.atomic import atomic_path
from kd_perception.engines.protocol import Tensor
from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.runtime.frame import FrameRecord
from kd_perception.student.spec import CAMERA_INPUTS, MEMORY_INPUT, StudentSpec

SUFFIX = ".npz"
MOST_FILES = 200  # of about 10 MB each: a node that is left running with this on must not fill the disk
LATE = "no image came in time"
BOX_FIELDS = ("center", "size", "yaw", "velocity", "label", "score")
HEAD = ("stamp_ns", "cameras", "ages_ns", "masked", "calibration", "feature_pixels")
GROUPS = ("tables", "memory", "outputs")  # of arrays by name


@dataclass(frozen=True, eq=False)
class FrameSnapshot:
    """One frame's stages.

    cameras: names in rig order; ages_ns: anchor's stamp minus each image's, None without one; masked: camera name ->
    why the network did not see it. calibration: camera name -> its numbers (`calibration_of`). feature_pixels: of one
    view, as tables count them. images: (views, height, width, 3) uint8, of every camera its views. tables, memory,
    outputs: arrays by their names in the student file; memory without the features themselves.
    """

    stamp_ns: int
    cameras: tuple[str, ...]
    ages_ns: tuple[int | None, ...]
    masked: dict[str, str]
    calibration: dict[str, dict[str, list[float] | str]]
    feature_pixels: int
    images: np.ndarray
    tables: dict[str, np.ndarray] = field(default_factory=dict)
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: dict[str, np.ndarray] = field(default_factory=dict)
    boxes: Boxes = field(default_factory=Boxes.empty)

    @property
    def views(self) -> int:
        """Network images of each camera."""
        return len(self.images) // len(self.cameras)


def snapshot_of(
    record: FrameRecord, memory: Mapping[str, Tensor], outputs: Mapping[str, Tensor], spec: StudentSpec
) -> FrameSnapshot:
    """A copy of what a record holds after `Pipeline.infer`; `memory`: the further inputs, `outputs`: the engine's."""
    late = {name: record.uncalibrated.get(name, LATE) for name in record.missing}
    return FrameSnapshot(
        stamp_ns=int(record.stamp_ns or 0),
        cameras=tuple(camera.name for camera in record.cameras),
        ages_ns=tuple(record.ages_ns),
        masked={**late, **record.rejected},
        calibration={camera.name: calibration_of(camera) for camera in record.cameras},
        feature_pixels=(spec.image_size[0] // spec.view.stride) * (spec.image_size[1] // spec.view.stride),
        images=record.inputs[CAMERA_INPUTS[0]].copy(),
        tables=_copies({name: array for name, array in record.inputs.items() if name not in CAMERA_INPUTS}),
        memory=_copies({name: array for name, array in memory.items() if name != MEMORY_INPUT}),
        outputs=_copies(outputs),
        boxes=record.boxes,
    )


def calibration_of(camera: Camera) -> dict[str, list[float] | str]:
    """A camera's numbers by what they are."""
    return {
        "size": [float(camera.width), float(camera.height)],
        "intrinsics": camera.intrinsics.ravel().tolist(),
        "lens": camera.distortion_model,
        "distortion": list(map(float, camera.distortion)),
        "mounting": camera.ego_from_camera.ravel().tolist(),
    }


class SnapshotFolder:
    """Writes a file for every frame, of the first MOST_FILES."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written = 0

    def keep(self, snapshot: FrameSnapshot) -> None:
        """Write one; raises DataError where the disk does not take it."""
        if self._written == MOST_FILES:
            return
        head = {name: getattr(snapshot, name) for name in HEAD}
        arrays = {f"{group}/{name}": a for group in GROUPS for name, a in getattr(snapshot, group).items()}
        arrays |= {f"boxes/{name}": getattr(snapshot.boxes, name) for name in BOX_FIELDS}
        try:
            with atomic_path(self._folder / f"{snapshot.stamp_ns}{SUFFIX}") as path:
                np.savez(path, head=np.array(json.dumps(head)), images=snapshot.images, **arrays)
        except OSError as error:
            raise DataError(
                f"stage_folder {self._folder} cannot be written ({error}); make room or unset it"
            ) from error
        self._written += 1


def read_snapshots(folder: Path) -> dict[int, FrameSnapshot]:
    """The snapshots of a folder by stamp (ns), in order."""
    found = [_read(path) for path in folder.glob(f"*{SUFFIX}")]
    return {snapshot.stamp_ns: snapshot for snapshot in sorted(found, key=lambda each: each.stamp_ns)}


def _read(path: Path) -> FrameSnapshot:
    with np.load(path, allow_pickle=False) as stored:
        head = json.loads(str(stored["head"]))
        groups: dict[str, dict[str, np.ndarray]] = {name: {} for name in (*GROUPS, "boxes")}
        for key in stored.files:
            group, slash, name = key.partition("/")
            if slash:
                groups[group][name] = stored[key]
        images = stored["images"]
    boxes = Boxes(**groups.pop("boxes"))
    sequences = {name: tuple(head.pop(name)) for name in ("cameras", "ages_ns")}
    return FrameSnapshot(**head, **sequences, images=images, boxes=boxes, **groups)


def _copies(arrays: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Arrays that stay; what lives on a device is left there."""
    return {name: array.copy() for name, array in arrays.items() if isinstance(array, np.ndarray)}
