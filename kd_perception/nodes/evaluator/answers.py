"""Which sample got which answer: samples, boxes, refusals and poses come in any order and are joined by their stamp."""

from dataclasses import dataclass

import numpy as np

from kd_perception.evaluation.results import sample_result
from kd_perception.geometry.boxes import Boxes


@dataclass
class _Answer:
    frame_id: str
    boxes: Boxes
    global_from_frame: np.ndarray | None = None
    problem: str = ""


class Answers:
    """The evaluator's book: one entry per stamp of an anchor image (nanoseconds)."""

    def __init__(self) -> None:
        self.samples: dict[int, tuple[str, str]] = {}  # stamp -> scene, sample token
        self._answers: dict[int, _Answer] = {}
        self._refusals: dict[int, str] = {}

    def add_sample(self, stamp_ns: int, scene: str, token: str) -> None:
        """A keyframe that must be answered."""
        self.samples[stamp_ns] = (scene, token)

    def add_boxes(self, stamp_ns: int, frame_id: str, boxes: Boxes) -> None:
        """Detections of the frame with this stamp; they count if a sample has it. The first answer stays."""
        self._answers.setdefault(stamp_ns, _Answer(frame_id, boxes))

    def add_refusal(self, stamp_ns: int, reason: str) -> None:
        """The detector says that it will not answer this frame."""
        self._refusals[stamp_ns] = reason

    def unlocated(self) -> list[tuple[int, str]]:
        """Stamp and frame of answers to samples that have no global pose yet."""
        return [
            (stamp, self._answers[stamp].frame_id)
            for stamp in self.samples
            if stamp in self._answers and self._answers[stamp].global_from_frame is None
        ]

    def set_pose(self, stamp_ns: int, global_from_frame: np.ndarray) -> None:
        """Where the answer's frame was."""
        self._answers[stamp_ns].global_from_frame = global_from_frame

    def set_pose_problem(self, stamp_ns: int, sentence: str) -> None:
        """Why that is not known (yet)."""
        self._answers[stamp_ns].problem = sentence

    def open_samples(self) -> list[str]:
        """Tokens of samples for which an answer may still come."""
        return [
            token for stamp, (_, token) in self.samples.items() if self._reason(stamp) and stamp not in self._refusals
        ]

    def missing(self) -> dict[str, str]:
        """Sample token -> why it has no detections."""
        return {token: reason for stamp, (_, token) in self.samples.items() if (reason := self._reason(stamp))}

    def results(self) -> dict[str, list[dict]]:
        """Result rows by sample token, in order of time; empty for the missing."""
        rows = {}
        for stamp in sorted(self.samples):
            token = self.samples[stamp][1]
            answer = self._answers.get(stamp)
            rows[token] = (
                []
                if answer is None or answer.global_from_frame is None
                else sample_result(token, answer.boxes, answer.global_from_frame)
            )
        return rows

    def scenes(self) -> list[str]:
        """Names of the scenes that had samples."""
        return sorted({scene for scene, _ in self.samples.values()})

    def _reason(self, stamp_ns: int) -> str:
        answer = self._answers.get(stamp_ns)
        if answer is None:
            return self._refusals.get(stamp_ns, "no detections with its stamp came")
        return "" if answer.global_from_frame is not None else (answer.problem or "its pose is not known")
