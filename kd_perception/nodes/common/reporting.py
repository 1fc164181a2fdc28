"""What the detector reports of each frame: boxes, FrameStatus, latency topics, counters, sentences in diagnostics."""

import time
from collections.abc import Callable, Sequence

from kd_perception.errors import KdError
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.outputs import Outputs
from kd_perception.runtime.bev_memory import MEMORY_NONE
from kd_perception.runtime.frame import FrameRecord, Outcome


class FrameReporter:
    """The last stage of a frame. `finished` belongs to the publishing thread; the others may come from any."""

    def __init__(
        self,
        camera_names: Sequence[str],
        outputs: Outputs,
        health: Health,
        failures: Callable[[], Sequence[str]],
        log_error: Callable[[str], object],
    ) -> None:
        """`failures`: sentences of the engines (and models) given up so far, in order."""
        self._camera_names = tuple(camera_names)
        self._outputs = outputs
        self._health = health
        self._failures = failures
        self._log_error = log_error
        self._engine_failures = 0  # those that were reported

    def dropped(self, record: FrameRecord, reason: str) -> None:
        """Report a frame that no stage will begin."""
        self._health.count("frames_dropped")
        record.give_up(Outcome.DROPPED, reason)
        record.ages_ns = ()  # nobody has looked at its images
        self._outputs.status(record)

    def refused(self, record: FrameRecord, reason: str) -> None:
        """Report a frame that no stage can begin, for its anchor image cannot be placed in time."""
        record.ages_ns = ()
        self._reject(record, reason)

    def finished(self, record: FrameRecord, error: Exception | None) -> None:
        """Report one frame, whatever became of it; never raises."""
        try:
            if error is not None:
                raise error
            self._publish(record)
        except KdError as refusal:
            self._reject(record, str(refusal))
        except Exception as fault:  # a fault of the engine or a bug must not end the robot's detector
            sentence = f"the detector failed on this frame ({type(fault).__name__}: {fault}); please report it"
            self._reject(record, sentence)

    def _reject(self, record: FrameRecord, reason: str) -> None:
        self._health.problem("frames_rejected", reason)
        self._health.unanswered(reason)
        record.give_up(Outcome.REJECTED, reason)
        self._outputs.status(record)

    def _publish(self, record: FrameRecord) -> None:
        started_s = time.monotonic()
        if not record.blind:
            self._outputs.boxes(record)
        done_s = time.monotonic()
        for kind, sentences in record.problems.items():
            for sentence in sentences:
                self._health.problem(kind, sentence)
        self._report_engine_failures(record.engine)
        for name in self._camera_names:
            if name in record.masked:
                self._health.count(f"missing_{name}")
        times = record.stage_ms
        times["messages"] = 1e3 * (done_s - started_s)
        end_to_end_ms = 1e3 * (done_s - record.arrival_s)
        times["hand_over"] = end_to_end_ms - sum(times[s] for s in ("wait", "calibration", "total", "messages"))
        times["end_to_end"] = end_to_end_ms
        if record.blind:
            self._report_blind(record)
            return
        record.outcome = Outcome.ANSWERED
        self._outputs.status(record)
        self._outputs.latency(record)
        self._health.count("frames_answered")
        self._health.processed(times["total"])

    def _report_blind(self, record: FrameRecord) -> None:
        """Report a frame of which nothing was seen: no detections are published, for none would mean a free road."""
        causes = [*record.uncalibrated.values(), *record.rejected.values(), "no image came in time"]
        record.outcome = Outcome.BLIND
        record.reason = record.reason or f"all cameras are masked, nothing was looked at: {causes[0]}"
        record.engine, record.memory_state = "", MEMORY_NONE
        self._health.problem("frames_blind", record.reason)
        self._health.unanswered(record.reason)
        self._outputs.status(record)

    def _report_engine_failures(self, engine: str) -> None:
        """Another engine may have taken over from one that failed; `engine`: the one of this frame."""
        failures = self._failures()
        for sentence in failures[self._engine_failures :]:
            self._log_error(sentence)
            self._health.problem("engine_failures", sentence)
            self._health.detail({"engine": engine})
        self._engine_failures = len(failures)
