"""Samples, boxes, refusals and poses of the same frame come in any order: they are joined by their stamp."""

from dataclasses import dataclass

import numpy as np

from kd_perception.evaluation.results import sample_result
from kd_perception.geometry.boxes import Boxes


@dataclass
class _LocatedBoxes:
    frame_id: str
    boxes: Boxes
    global_from_frame: np.ndarray | None = None
    problem: str = ""


class CollectedFrames:
    """What the evaluator has received; a frame is known by the stamp of its anchor image, in nanoseconds."""

    def __init__(self) -> None:
        self.samples: dict[int, tuple[str, str]] = {}  # stamp -> scene, sample token
        self._detections: dict[int, _LocatedBoxes] = {}
        self._refusals: dict[int, str] = {}
        self._reported: set[int] = set()  # stamps of the frames whose status came

    def add_sample(self, stamp_ns: int, scene: str, token: str) -> None:
        """Add a keyframe, which must have detections."""
        self.samples[stamp_ns] = (scene, token)

    def add_boxes(self, stamp_ns: int, frame_id: str, boxes: Boxes) -> None:
        """Add detections of the frame with this stamp; they count if a sample has it. The first ones stay."""
        self._detections.setdefault(stamp_ns, _LocatedBoxes(frame_id, boxes))

    def add_status(self, stamp_ns: int, refusal: str = "") -> None:
        """Note that the detector has reported this frame: answered, or why it has no detections for it."""
        self._reported.add(stamp_ns)
        if refusal:
            self._refusals[stamp_ns] = refusal

    def unlocated(self) -> list[tuple[int, str]]:
        """Stamp and tf frame of the samples' detections that have no global pose yet."""
        return [
            (stamp, self._detections[stamp].frame_id)
            for stamp in self.samples
            if stamp in self._detections and self._detections[stamp].global_from_frame is None
        ]

    def set_pose(self, stamp_ns: int, global_from_frame: np.ndarray) -> None:
        """Set where the detections' tf frame was: (4, 4)."""
        self._detections[stamp_ns].global_from_frame = global_from_frame

    def set_pose_problem(self, stamp_ns: int, sentence: str) -> None:
        """Note why that pose is not known (yet)."""
        self._detections[stamp_ns].problem = sentence

    def open_samples(self) -> list[str]:
        """Tokens of samples whose detections may still come, or the status that follows them where there are any."""
        return [token for stamp, (_, token) in self.samples.items() if self._open(stamp)]

    def missing(self) -> dict[str, str]:
        """Sample token -> why it has no detections."""
        return {token: reason for stamp, (_, token) in self.samples.items() if (reason := self._reason(stamp))}

    def results(self) -> dict[str, list[dict]]:
        """Result rows by sample token, in order of time; empty for the missing."""
        rows = {}
        for stamp in sorted(self.samples):
            token = self.samples[stamp][1]
            found = self._detections.get(stamp)
            located = found is not None and found.global_from_frame is not None
            rows[token] = sample_result(token, found.boxes, found.global_from_frame) if located else []
        return rows

    def scenes(self) -> list[str]:
        """Names of the scenes that had samples."""
        return sorted({scene for scene, _ in self.samples.values()})

    def _open(self, stamp_ns: int) -> bool:
        unanswered = self._reason(stamp_ns) and stamp_ns not in self._refusals
        return bool(unanswered or (self._reported and stamp_ns not in self._reported))

    def _reason(self, stamp_ns: int) -> str:
        found = self._detections.get(stamp_ns)
        if found is None:
            return self._refusals.get(stamp_ns, "no detections with its stamp came")
        return "" if found.global_from_frame is not None else (found.problem or "its pose is not known")
