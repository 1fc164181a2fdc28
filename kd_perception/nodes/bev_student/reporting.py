"""What is told of each frame: its boxes, one FrameStatus, latency topics, counters and sentences in diagnostics."""

import time
from collections.abc import Callable, Sequence

from kd_msgs.msg import FrameStatus
from kd_perception.engines.fallback import FallbackEngine
from kd_perception.errors import KdError
from kd_perception.nodes.bev_student.detection import Inferred, Trigger
from kd_perception.nodes.bev_student.outputs import Answer, Outputs
from kd_perception.nodes.common.health import Health


class FrameReporter:
    """The last stage of a frame. `finished` belongs to the publishing thread; `dropped` may come from any."""

    def __init__(
        self,
        camera_names: Sequence[str],
        outputs: Outputs,
        health: Health,
        engine: FallbackEngine,
        log_error: Callable[[str], object],
    ) -> None:
        self._camera_names = tuple(camera_names)
        self._outputs = outputs
        self._health = health
        self._engine = engine
        self._log_error = log_error
        self._engine_failures = 0  # those that were told

    def dropped(self, stamp_ns: int, reason: str) -> None:
        """A frame that will not be answered."""
        self._health.count("frames_dropped")
        self._outputs.status(Answer(stamp_ns, FrameStatus.DROPPED, reason))

    def finished(self, trigger: Trigger, result: Inferred | Exception) -> None:
        """Answer one frame, whatever became of it; never raises."""
        try:
            if isinstance(result, Exception):
                raise result
            self._answer(trigger, result)
        except KdError as error:
            self._reject(trigger, str(error))
        except Exception as error:  # a fault of the engine or a bug must not end the robot's detector
            sentence = f"the detector failed on this frame ({type(error).__name__}: {error}); please report it"
            self._reject(trigger, sentence)

    def _reject(self, trigger: Trigger, reason: str) -> None:
        self._health.problem("frames_rejected", reason)
        frame = trigger.frame
        self._outputs.status(Answer(frame.stamp_ns, FrameStatus.REJECTED, reason, ages_ns=frame.ages_ns))

    def _answer(self, trigger: Trigger, result: Inferred) -> None:
        frame, ready, detections = trigger.frame, result.ready, result.detections
        started_s = time.monotonic()
        self._outputs.boxes(detections.boxes, frame.stamp_ns)
        done_s = time.monotonic()
        for kind, sentences in ready.problems.items():
            for sentence in sentences:
                self._health.problem(kind, sentence)
        self._tell_engine_failures()
        missing = [name for name in self._camera_names if name in ready.masked]
        for name in missing:
            self._health.count(f"missing_{name}")
        wait_ms, messages_ms = 1e3 * (ready.started_s - frame.arrival_s), 1e3 * (done_s - started_s)
        end_to_end_ms = 1e3 * (done_s - frame.arrival_s)
        worked_ms = ready.calibration_ms + detections.stage_ms["total"] + messages_ms
        stage_ms = {
            "wait": wait_ms, "calibration": ready.calibration_ms, **detections.stage_ms, "messages": messages_ms,
            "hand_over": end_to_end_ms - wait_ms - worked_ms, "end_to_end": end_to_end_ms,
        }  # fmt: skip
        answer = Answer(
            frame.stamp_ns, FrameStatus.ANSWERED, "", stage_ms, frame.ages_ns, missing, detections.reset_reason,
            detections.memory_state, self._engine.name,
        )  # fmt: skip
        self._outputs.status(answer)
        self._outputs.latency(answer)
        self._health.count("frames_answered")
        self._health.processed(detections.stage_ms["total"])

    def _tell_engine_failures(self) -> None:
        """Another engine may have taken over from one that failed."""
        failures = self._engine.failures
        for sentence in failures[self._engine_failures :]:
            self._log_error(sentence)
            self._health.problem("engine_failures", sentence)
            self._health.detail({"engine": self._engine.name})
        self._engine_failures = len(failures)
