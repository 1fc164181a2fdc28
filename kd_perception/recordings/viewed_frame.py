"""One moment as a person looks at it: pictures, cloud, boxes, heatmaps, and what was missed or invented."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np

from kd_perception.errors import DataError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.images.decoding import encoded_size
from kd_perception.images.jpeg import is_jpeg


@dataclass(frozen=True, eq=False)
class ViewedImage:
    """An exposure: its calibration, the JPEG or PNG file as it is, and its stamp.

    Raises DataError if it is neither, or not of the size that was calibrated: boxes would be drawn next to the objects.
    """

    camera: Camera
    data: bytes
    stamp_ns: int

    def __post_init__(self) -> None:
        height, width = encoded_size(self.data, f"of camera '{self.camera.name}'")
        if (width, height) != (self.camera.width, self.camera.height):
            raise DataError(
                f"camera '{self.camera.name}': its image is {width}x{height}, but its calibration is for "
                f"{self.camera.width}x{self.camera.height}; publish or store both for one size"
            )

    @property
    def format(self) -> str:
        """'jpeg' or 'png'."""
        return "jpeg" if is_jpeg(self.data) else "png"


class FaultKind(Enum):
    """What went wrong with a box: the ground truth was missed, or a prediction is of nothing."""

    MISSED = "missed"
    FALSE = "false"


@dataclass(frozen=True)
class Fault:
    """A ground-truth box that was missed or a prediction of nothing: the one box, in ego, and the sentence why."""

    kind: FaultKind
    box: Boxes
    reason: str


@dataclass(frozen=True, eq=False)
class ViewedFrame:
    """A moment; boxes and `cloud` (N, 3) are in ego, metres; None is what is not known there.

    title: scene and sample, or the bag; sample_token: '' outside data sets; predictions: those that are shown;
    heatmaps: by whose they are, (classes, rows, columns) in [0, 1], rows along +y and columns along +x of the grid;
    problems: sentences on what is left out.
    """

    title: str
    stamp_ns: int
    images: tuple[ViewedImage, ...]
    sample_token: str = ""
    map_from_ego: np.ndarray | None = None
    cloud: np.ndarray | None = None
    ground_truth: Boxes | None = None
    predictions: Boxes | None = None
    faults: tuple[Fault, ...] = ()
    heatmaps: Mapping[str, np.ndarray] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def classes(self) -> ClassList:
        """The class list of the boxes."""
        boxes = self.predictions if self.ground_truth is None else self.ground_truth
        return NUSCENES if boxes is None else boxes.classes

    def faults_of(self, kind: FaultKind) -> Iterator[Fault]:
        """The faults of one kind."""
        return (fault for fault in self.faults if fault.kind is kind)

    def right(self, kind: FaultKind) -> Boxes | None:
        """The ground truth without what was missed, or the predictions without the false ones."""
        boxes = self.ground_truth if kind is FaultKind.MISSED else self.predictions
        if boxes is None:
            return None
        wrong = [fault.box.center[0] for fault in self.faults_of(kind)]
        return boxes[
            np.array([not any(np.array_equal(center, other) for other in wrong) for center in boxes.center], bool)
        ]


class FrameRecording(Protocol):
    """A recording that is being made."""

    def write(self, frame: ViewedFrame) -> None:
        """Append a frame."""
