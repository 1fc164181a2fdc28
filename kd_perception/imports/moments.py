"""Which of a log's measurements are keyframes, and to which keyframe the others belong."""

from collections.abc import Sequence

import numpy as np

SLACK = 0.06  # of the wanted interval that a keyframe may come too early: sensors jitter


def thinned(stamps: Sequence[int], interval: float) -> list[int]:
    """Stamps at least about `interval` apart, from the first on; both in the same unit."""
    chosen: list[int] = []
    for stamp in stamps:
        if not chosen or stamp - chosen[-1] >= (1.0 - SLACK) * interval:
            chosen.append(stamp)
    return chosen


def belonging(stamps: np.ndarray, moments: Sequence[int], tolerance: int) -> tuple[np.ndarray, np.ndarray]:
    """The keyframe (n,) that each of a sensor's rising stamps (n,) belongs to, and whether it is that keyframe's own.

    A keyframe's own measurement is the nearest within `tolerance`; the others belong to the last keyframe before
    them, -1 where there is none.
    """
    owner = np.searchsorted(moments, stamps, side="right") - 1
    own = np.zeros(len(stamps), bool)
    for index, moment in enumerate(moments):
        nearest = int(np.abs(stamps - moment).argmin()) if len(stamps) else -1
        if nearest >= 0 and abs(stamps[nearest] - moment) <= tolerance and not own[nearest]:
            owner[nearest], own[nearest] = index, True
    return owner, own
