"""All frames of two sides compared: what each stage gave, and the first one that differs, in a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kd_perception.errors import DataError
from kd_perception.parity.stages import STAGES, Compared, ParityStage
from kd_perception.runtime.snapshot import FrameSnapshot


@dataclass(frozen=True)
class StageResult:
    """One stage over all frames: how many things were compared, how many differ, and the greatest amount.

    first: (frame's stamp in ns, what differs there most), None where all agree.
    """

    stage: ParityStage
    compared: int
    differing: int
    greatest: float
    first: tuple[int, Compared] | None


@dataclass(frozen=True)
class ParityReport:
    """Stages in order; stamps (ns) of the frames; boxes of both sides, and those with a partner.

    unanswered: frames that only the offline pipeline processed; rejected: frames that it refused.
    """

    stages: tuple[StageResult, ...]
    stamps_ns: tuple[int, ...]
    boxes: int
    unanswered: tuple[int, ...]
    rejected: int

    @property
    def first(self) -> StageResult | None:
        """The first stage that differs."""
        return next((result for result in self.stages if result.first is not None), None)

    @property
    def agrees(self) -> bool:
        """Whether all that was offered was processed, and all stages agree."""
        return self.first is None and not self.unanswered

    def sentence(self) -> str:
        """What was found."""
        of = f"of {len(self.stamps_ns) + len(self.unanswered)}"
        if self.first is not None:
            stamp_ns, worst = self.first.first
            frame = f"frame {self.stamps_ns.index(stamp_ns) + 1} {of} ({stamp_ns / 1e9:.3f} s)"
            return (
                f"the graph differs from the offline pipeline first in stage {self.first.stage.name}, {frame}, "
                f"{worst.what}: {worst.words}"
            )
        if self.unanswered:
            return (
                f"the graph gave no answer to {len(self.unanswered)} {of} frames, the first at "
                f"{self.unanswered[0] / 1e9:.3f} s, which the offline pipeline processed; look at the node's log"
            )
        refused = f"; {self.rejected} more are refused for their calibration" if self.rejected else ""
        frames = f"{len(self.stamps_ns)} frame{'s' * (len(self.stamps_ns) != 1)}"
        return f"graph and offline pipeline agree in all stages of {frames}{refused}"


def compare(live: Mapping[int, FrameSnapshot], offline: Mapping[int, FrameSnapshot], rejected: int = 0) -> ParityReport:
    """Compare the frames by stamp (ns); `rejected`: frames that the offline pipeline refused.

    Raises DataError if there is no frame to compare.
    """
    common = tuple(stamp for stamp in offline if stamp in live)
    unanswered = tuple(stamp for stamp in offline if stamp not in live)
    if not common and not unanswered:
        raise DataError(f"no frame could be compared: {rejected} frames are refused for their calibration")
    stages = tuple(_over_frames(stage, live, offline, common) for stage in STAGES)
    boxes = sum(len(side[stamp].boxes) for side in (live, offline) for stamp in common)
    return ParityReport(stages, common, boxes, unanswered, rejected)


def _over_frames(
    stage: ParityStage,
    live: Mapping[int, FrameSnapshot],
    offline: Mapping[int, FrameSnapshot],
    stamps: tuple[int, ...],
) -> StageResult:
    compared = differing = 0
    greatest, first = 0.0, None
    for stamp in stamps:
        found = list(stage.compare(live[stamp], offline[stamp]))
        wrong = [each for each in found if not each.amount <= stage.allowed]  # NaN is wrong, too
        compared, differing = compared + len(found), differing + len(wrong)
        greatest = max([greatest, *(each.amount if np.isfinite(each.amount) else np.inf for each in found)])
        if wrong and first is None:
            first = stamp, max(wrong, key=lambda each: each.amount)
    return StageResult(stage, compared, differing, greatest, first)
