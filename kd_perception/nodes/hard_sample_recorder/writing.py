"""The recorder's worker: judges answers and keeps frames in a thread of its own, whatever the disk does.

A folder that cannot be opened or written is reported and tried again: the disk may come back, and the student goes on.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from kd_perception.continual.held_messages import HeldMessage
from kd_perception.continual.keeping import Decided, Decision, FrameKeeper, KeepingRules
from kd_perception.continual.recording_folder import RecordingFolder
from kd_perception.errors import DataError, KdError
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.latest_worker import LatestWorker
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.hard_sample_recorder.judging import FrameJudge, NotComparedError
from kd_perception.options.recorder import RecorderOptions

RETRY_S, LONGEST_RETRY_S = 5.0, 60.0
MB = 1_000_000


class RecordingWorker:
    """Takes the teacher's answers from any thread; `close` finishes the one at work."""

    def __init__(self, node: ManagedNode[RecorderOptions], judge: FrameJudge, health: Health, class_count: int) -> None:
        self._node, self._judge, self._health, self._class_count = node, judge, health, class_count
        self._folder: RecordingFolder | None = None
        self._keeper: FrameKeeper | None = None
        self._next_try_s, self._retry_s = 0.0, RETRY_S
        self._waits = False  # whether an answer has not been begun
        self._worker = LatestWorker[Callable[[], None]](self._attempt)
        self._worker.submit(self._open)  # what is wrong with the folder is said at once

    def submit(self, answer: HeldMessage) -> None:
        """Judge an answer soon; one that still waits is overtaken."""
        if self._waits:
            self._health.count("answers_overtaken")
        self._waits = True
        self._worker.submit(partial(self._offer, answer))

    def close(self) -> None:
        """Finish the answer at work, and let the folder go."""
        self._worker.stop()
        self._let_go()

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except NotComparedError as reason:
            self._health.problem(reason.kind, str(reason))
        except KdError as error:
            self._health.problem("refused_input", str(error))
        except Exception as error:  # a bug here must not end the thread
            self._health.problem("faults", f"recording failed ({type(error).__name__}: {error}); please report it")

    def _offer(self, answer: HeldMessage) -> None:
        self._waits = False
        candidate = self._judge.candidate(answer, self._node.settings)
        self._health.count("frames_compared")
        for kind, count in candidate.verdict.counts.items():
            self._health.count(f"boxes_{kind}", count)
        self._open()
        if self._keeper is None or time.monotonic() < self._next_try_s:
            self._health.count("frames_not_kept")
            return
        with self._refusals_reported():
            decision = self._keeper.offer(candidate)
            self._report(decision)

    def _open(self) -> None:
        """Open the folder, unless it is open or it is not yet time to try again.

        One that refused a frame stays open: to read thousands of frames again and again would slow the student.
        """
        if time.monotonic() < self._next_try_s or (self._keeper is not None and self._folder.is_there):
            return
        self._let_go()
        p = self._node.settings
        with self._refusals_reported():
            self._folder = RecordingFolder(p.folder, p.budget_mb * MB)
            for problem in self._folder.problems:
                self._health.problem("recording_repaired", problem)
            rules = KeepingRules(p.least_importance, p.interval_s, p.place_m)
            self._keeper = FrameKeeper(self._folder, rules, self._class_count)
            self._report_folder()

    @contextmanager
    def _refusals_reported(self) -> Iterator[None]:
        """What the disk refuses is tried again after a while, which doubles up to LONGEST_RETRY_S."""
        try:
            yield
            self._retry_s = RETRY_S
        except DataError as error:
            self._next_try_s = time.monotonic() + self._retry_s
            self._retry_s = min(2.0 * self._retry_s, LONGEST_RETRY_S)
            self._health.problem("recording_failed", f"{error}; it is tried again, nothing is kept until then")

    def _report(self, decision: Decision) -> None:
        self._health.count(decision.decided.value)
        self._health.count("frames_evicted", len(decision.evicted))
        if decision.decided is Decided.TOO_LARGE:
            self._health.problem("recording_failed", "one frame is larger than the recording's budget; raise budget_mb")
        if decision.frame is not None:
            self._node.get_logger().info(f"kept {decision.frame.file}: {decision.frame.why}")
            self._report_folder()

    def _report_folder(self) -> None:
        frames = self._folder.frames
        used_mb = sum(frame.bytes for frame in frames) / MB
        self._health.detail({"recorded_frames": str(len(frames)), "recorded_mb": f"{used_mb:.1f}"})

    def _let_go(self) -> None:
        if self._folder is not None:
            self._folder.close()
        self._folder = self._keeper = None
