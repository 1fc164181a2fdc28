"""One frame's record: the synchroniser makes it, every stage of the detector fills in its part, the reporter ends it.

Who fills in what, in the order of a frame's way (times are entries of `stage_ms`):

- `Synchroniser`, in callbacks: `stamp_ns`, `arrival_s`, `messages`, `ages_ns`
- the node, in callbacks: `resets`, `reset_cause`
- `FrameDetector.prepare`, in the preparing thread: `cameras`, `uncalibrated`, `odom_from_base`, `images`, `problems`;
  times `wait` and `calibration`
- `PipelineExchange.preparing`, in the same: `pipeline`
- `Pipeline.prepare`, in the same: `model`, `inputs`, `missing`, `rejected`, `blind`; time `preprocess`
- `Pipeline.infer`, in the engine's thread: `boxes`, `engine`, `memory_state`, `reset_reason`; times `inference`,
  `decode` and `total`
- `FrameReporter`, in the publishing thread: `outcome`, `reason`; times `messages`, `hand_over` and `end_to_end`

One thread at a time holds a record: who hands it on does not touch it again. Offline callers (`kd eval`, benchmarks)
need the pipeline's part only, and `Pipeline.detect` makes a record of a set of images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.camera import Camera
from kd_perception.runtime.bev_memory import MEMORY_NONE

if TYPE_CHECKING:
    from kd_perception.runtime.pipeline import Pipeline

EncodedOrRgb = bytes | memoryview | np.ndarray  # JPEG or PNG, or RGB uint8 (height, width, 3)
Message = TypeVar("Message")


class Outcome(Enum):
    """What became of a frame; the names are those of kd_msgs/FrameStatus."""

    ANSWERED = "its boxes are published"
    DROPPED = "no stage has begun it"
    BLIND = "all its cameras are masked"
    REJECTED = "a stage could not use its inputs, or failed"


@dataclass(eq=False)
class FrameRecord(Generic[Message]):
    """One frame on its way through the detector; the module says which stage owns which field.

    stamp_ns: the anchor's exposure; arrival_s: steady time at which its image came.
    messages, images: in rig order, None for a missing camera; messages as received, images as the pipeline takes them.
    ages_ns: anchor's stamp minus the image's (< 0: younger), None for a missing camera.
    resets: how often the past has become void until this frame; reset_cause: why the last time. Frames may be dropped:
        the count shows whether one of them was the first after a reset.
    cameras: the rig as it is at this frame's time; uncalibrated: camera name -> sentence, of those that are masked.
    odom_from_base: pose (4, 4) of the ego in odom (never map) at `stamp_ns`; None where odometry does not know it.
    pipeline: the one that prepares and infers this frame; model: its student's id, '' before that.
    inputs: the engine's, by name, valid until `IN_FLIGHT` further frames are prepared.
    missing: names of cameras without an image; rejected: camera name -> sentence why its image cannot be used.
    reason: why it is not answered; a pipeline that finds it blind may say why.
    blind: no camera has an image that the engine may see, or no LiDAR a point; that no box is found does not mean that
        nothing is there.
    boxes: in base_link at `stamp_ns`, best score first; engine: name of the one that computed them.
    memory_state, reset_reason: as kd_msgs/FrameStatus.
    stage_ms: wall-clock milliseconds in the order of the stages; `total` sums preprocess, inference and decode.
    problems: kind -> sentences for diagnostics.
    """

    stamp_ns: int | None = None
    arrival_s: float = 0.0
    messages: tuple[Message | None, ...] = ()
    ages_ns: tuple[int | None, ...] = ()
    resets: int = 0
    reset_cause: str = ""
    cameras: tuple[Camera, ...] = ()
    uncalibrated: dict[str, str] = field(default_factory=dict)
    odom_from_base: np.ndarray | None = None
    images: Sequence[EncodedOrRgb | None] = ()
    pipeline: "Pipeline | None" = None
    model: str = ""
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    rejected: dict[str, str] = field(default_factory=dict)
    blind: bool = False
    boxes: Boxes = field(default_factory=Boxes.empty)
    engine: str = ""
    memory_state: str = MEMORY_NONE
    reset_reason: str = ""
    outcome: Outcome | None = None
    reason: str = ""
    stage_ms: dict[str, float] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)

    @property
    def masked(self) -> frozenset[str]:
        """Names of the cameras whose images the engine did not see."""
        return frozenset({*self.missing, *self.rejected})

    def note(self, kind: str, *sentences: str) -> None:
        """Keep sentences for diagnostics under a kind of problem; empty ones are no problem."""
        self.problems.setdefault(kind, []).extend(sentence for sentence in sentences if sentence)

    def give_up(self, outcome: Outcome, reason: str) -> None:
        """End the frame without boxes: nothing of what its stages found so far is reported."""
        self.outcome, self.reason = outcome, reason
        self.missing, self.rejected, self.stage_ms = (), {}, {}
        self.engine, self.memory_state, self.reset_reason = "", MEMORY_NONE, ""
