"""Keeps a deadline by doing less: first fewer frames, then by a lighter student; and does more when there is room.

A feedback controller on a ladder of levels. It judges a level by frames that came since the step, steps up only with
room to spare, and waits twice as long after each step up that did not last: under a constant load it comes to rest.
Clock-free: times come in with each call.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_S = 1.0  # frames of the last second decide; fewer than LEAST are waited for
LEAST = 3
MISSED_SHARE = 0.5  # of these frames, from which on a level is given up
ROOM = 0.8  # of the deadline: the slowest frame must stay below that before a step up
CALM_S = 5.0  # for so long
LONGEST_CALM_S = 80.0  # after steps up that did not last
PAUSE_S, PAUSE_GAPS = 2.0, 4.0  # no answer for longer than both, the second times the gap before: nobody listened


@dataclass(frozen=True)
class WorkLevel:
    """How much is done: one frame of `every` is answered, by the student number `student` of a list, heaviest first."""

    every: int
    student: int


def work_levels(fewest: int, students: int) -> tuple[WorkLevel, ...]:
    """The ladder: fewer frames first, down to one of `fewest`, then the lighter students at that rate."""
    rates = [WorkLevel(every, 0) for every in range(1, fewest + 1)]
    return (*rates, *(WorkLevel(fewest, student) for student in range(1, students)))


class Governor:
    """Chooses a level, one step at a time. Not thread-safe."""

    def __init__(self, levels: Sequence[WorkLevel], deadline_ms: float) -> None:
        """`levels`: most work first; it begins there."""
        self.levels, self.deadline_ms = tuple(levels), deadline_ms
        self._index = 0
        self._recent: deque[tuple[float, float]] = deque()  # steady time of an answer, and its latency
        self._calm_since_s: float | None = None
        self._calm_s = CALM_S  # what the next step up takes
        self._since_s = -math.inf  # the last step
        self._stepped_up = False  # the last step was one up
        self._answered_s = -math.inf  # the last answer
        self._gap_s = math.inf  # between the two answers before a pause

    @property
    def level(self) -> WorkLevel:
        """What is done now."""
        return self.levels[self._index]

    def answered(self, latency_ms: float, now_s: float) -> str:
        """Take a frame's latency at steady time `now_s`; '' or words why the level is another from now on."""
        if now_s - latency_ms / 1e3 < self._since_s:
            return ""  # it came before the last step
        self._notice_pause(now_s)
        self._recent.append((now_s, latency_ms))
        while len(self._recent) > LEAST and now_s - self._recent[0][0] > WINDOW_S:
            self._recent.popleft()
        if latency_ms > ROOM * self.deadline_ms:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s
        missed = sum(late > self.deadline_ms for _, late in self._recent)
        if len(self._recent) >= LEAST and missed >= MISSED_SHARE * len(self._recent):
            return self._down(missed, now_s)
        if self._calm_since_s is not None and now_s - self._calm_since_s >= self._calm_s:
            return self._up(now_s)
        return ""

    def _notice_pause(self, now_s: float) -> None:
        """Frames of before a pause say nothing of the load now, and a pause is no calm."""
        gap_s = now_s - self._answered_s
        if gap_s > max(PAUSE_S, PAUSE_GAPS * self._gap_s):
            self._recent.clear()
            self._calm_since_s = None
        else:
            self._gap_s = gap_s
        self._answered_s = now_s

    def _down(self, missed: int, now_s: float) -> str:
        if self._index + 1 == len(self.levels):
            return ""
        if self._stepped_up:
            lasted = now_s - self._since_s >= self._calm_s  # as long as it was waited for
            self._calm_s = CALM_S if lasted else min(2.0 * self._calm_s, LONGEST_CALM_S)
        count = len(self._recent)
        self._step(1, now_s)
        return f"{missed} of {count} frames missed the deadline of {self.deadline_ms:g} ms"

    def _up(self, now_s: float) -> str:
        if self._index == 0:
            return ""
        slowest = max(late for _, late in self._recent)
        calm_s = now_s - self._calm_since_s
        if self._stepped_up:
            self._calm_s = CALM_S  # the step before has lasted
        self._step(-1, now_s)
        return f"frames took {slowest:.0f} ms at most, with a deadline of {self.deadline_ms:g} ms, for {calm_s:.0f} s"

    def _step(self, by: int, now_s: float) -> None:
        """Go to another level, and judge it by its own frames alone."""
        self._index += by
        self._since_s, self._stepped_up = now_s, by < 0
        self._recent.clear()
        self._calm_since_s = None
