"""Scores the live graph: Samples and detections in, a nuScenes result file, a bag of the detections and the metric out.

Global poses come from tf (map <- base_link at the anchor's exposure). A Sample without detections or pose is named.
"""

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.serialization import serialize_message
from std_srvs.srv import Trigger

from kd_msgs.msg import Detection3DArray, FrameStatus, Sample
from kd_perception.atomic import disk_refusal, write_text
from kd_perception.bags.writer import BagWriter
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.errors import CalibrationError, DataError, KdError
from kd_perception.evaluation.metric import evaluate_results
from kd_perception.evaluation.result_folder import (
    DETECTIONS_FOLDER,
    FOXGLOVE_FILE,
    PROCESSED,
    RESULTS_FILE,
    STATUS_FILE,
    SUMMARY_FILE,
    StatusRow,
)
from kd_perception.evaluation.results import write_results
from kd_perception.evaluation.viewed import write_foxglove
from kd_perception.messages.detections import Detections
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.node import run
from kd_perception.nodes.common.output_formats import chosen_formats
from kd_perception.nodes.evaluator.collected_frames import CollectedFrames
from kd_perception.nodes.evaluator.sources import Sources
from kd_perception.options.evaluator import EvaluatorOptions
from kd_perception.ros.detections import from_detection_array, other_classes
from kd_perception.ros.live import LIVE
from kd_perception.ros.outcomes import NUMBERS
from kd_perception.ros.qos import EVERY_RESULT
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf import open_transforms
from kd_perception.runtime.frame import Outcome
from kd_perception.student.classes import chosen_classes

OUTCOMES = {
    number: PROCESSED if outcome is Outcome.ANSWERED else outcome.name.lower() for outcome, number in NUMBERS.items()
}
Message = Sample | Detection3DArray | FrameStatus
TF_HISTORY_S = 60.0
SETTLE_POLL_S = 0.05


class Evaluator(ManagedNode[EvaluatorOptions]):
    """Lifecycle: configure checks folders and starts listening; the service ~/evaluate writes everything."""

    def __init__(self) -> None:
        super().__init__("evaluator", EvaluatorOptions())
        self._bag: BagWriter | None = None
        self._lock = threading.RLock()  # the service runs while messages arrive

    def configure(self, ending: ExitStack) -> None:
        """Open the detections' bag and listen; detections that are not evaluated by cleanup are discarded."""
        p = self.settings
        self._classes = chosen_classes(p.classes)
        self._formats = chosen_formats(("kd", *p.output_messages))
        self._nusc = open_nuscenes(p.dataroot, p.version) if p.dataroot is not None else None
        ending.callback(self._discard_bag)
        try:
            self._bag = BagWriter(p.out / DETECTIONS_FOLDER, overwrite=True)
            self._bag.__enter__()
        except OSError as error:
            raise DataError(f"folder {p.out} cannot be written: {error}") from error
        self._bag_problem, self._written = "", False
        self._health = Health(self)
        ending.callback(self._health.close)
        ending.enter_context(self._health.active())
        self._frames, self._sources = CollectedFrames(), Sources()
        self._statuses: list[str] = []
        self._others: set[str] = set()  # classes of detections that are not in `classes`
        self._last_input_s = time.monotonic()
        self._transforms = open_transforms(self, partial(self._health.problem, "refused_transforms"), TF_HISTORY_S)
        ending.callback(self._transforms.close)
        for kind, name, receive in (
            (Sample, "sample", self._receive_sample),
            (Detection3DArray, "objects", self._receive_objects),
            (FrameStatus, "status", self._receive_status),
        ):
            topic = self.resolve_topic_name(f"~/input/{name}")
            receive = partial(self._receive, receive, f"/{name}", topic)
            ending.callback(self.destroy_subscription, self.create_subscription(kind, topic, receive, EVERY_RESULT))
        group = MutuallyExclusiveCallbackGroup()
        service = self.create_service(Trigger, "~/evaluate", self._evaluate, callback_group=group)
        ending.callback(self.destroy_service, service)

    def activate(self, ending: ExitStack) -> None:
        """It has listened since it was configured."""

    def _discard_bag(self) -> None:
        """Leave no half-written bag."""
        if self._bag is not None:
            self._bag.__exit__(KeyboardInterrupt, None, None)
            self._bag = None

    def _receive(
        self, take: Callable[[Message, int], None], name: str, topic: str, message: Message, info: dict
    ) -> None:
        """Take a message of a topic, look who sent it, and record it in the bag under `name`."""
        stamp_ns = to_nanoseconds(message.header.stamp)
        publisher = info.get("publisher_gid", {}).get("data", b"")
        with self._lock:
            take(message, stamp_ns)
            self._sources.came(topic, bytes(publisher), stamp_ns)
            if self._sources.problem:
                self._health.problem("mixed_results", self._sources.problem)
            elif self.count_publishers(topic) > 1:
                self._health.problem("several_publishers", f"{topic} has several publishers; end all but one")
            self._record(name, message, stamp_ns)

    def _receive_sample(self, message: Sample, stamp_ns: int) -> None:
        self._frames.add_sample(stamp_ns, message.scene, message.sample_token)

    def _receive_objects(self, message: Detection3DArray, stamp_ns: int) -> None:
        try:
            others = other_classes(message, self._classes)
            boxes = from_detection_array(message, self._classes.with_others(others))
            known = replace(boxes[boxes.label < len(self._classes)], classes=self._classes)
            self._frames.add_boxes(stamp_ns, message.header.frame_id, known)
        except DataError as error:
            self._health.problem("refused_detections", str(error))
            return
        if others:
            self._others.update(others)
            self._health.problem("foreign_classes", self._left_out())
        found = Detections(boxes, stamp_ns, message.header.frame_id, message.model)
        for name, kind in self._formats.items():
            if name != "kd":  # recorded as it came
                self._append(f"/{name}/objects", kind.type_name, kind.build(LIVE, found), stamp_ns)

    def _left_out(self) -> str:
        """A sentence on classes that are not scored."""
        return (
            f"boxes of {', '.join(sorted(self._others))} are left out of the scores; set `classes` to the student's "
            "file to score them"
        )

    def _receive_status(self, message: FrameStatus, stamp_ns: int) -> None:
        self._statuses.append(_status_row(stamp_ns, message).to_json())
        answered = message.outcome == FrameStatus.ANSWERED
        self._frames.add_status(stamp_ns, "" if answered else message.reason or "the detector gave no reason")

    def _record(self, topic: str, message: Message, stamp_ns: int) -> None:
        self._health.count(topic.strip("/"))
        self._last_input_s = time.monotonic()
        self._append(topic, f"kd_msgs/msg/{type(message).__name__}", message, stamp_ns)
        self._locate()

    def _append(self, topic: str, type_name: str, message: Message, stamp_ns: int) -> None:
        """Append to the bag; scores do not need it."""
        if self._bag is None or self._bag_problem:
            return
        try:
            self._bag.write_cdr(topic, type_name, serialize_message(message), stamp_ns)
        except DataError as error:
            self._bag_problem = str(error)
            self._health.problem("bag_problems", self._bag_problem)

    def _locate(self) -> None:
        """Look up the global pose of detections while tf still has it."""
        for stamp_ns, frame_id in self._frames.unlocated():
            try:
                self._frames.set_pose(stamp_ns, self._transforms.lookup(self.settings.global_frame, frame_id, stamp_ns))
            except CalibrationError as error:
                self._frames.set_pose_problem(stamp_ns, str(error))

    def _evaluate(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """~/evaluate: in a thread of its own, wait for detections that are on their way, then write and score."""
        deadline_s = time.monotonic() + self.settings.settle_s
        while not self._settled() and time.monotonic() < deadline_s and not self.interrupted.is_set():
            time.sleep(SETTLE_POLL_S)
        try:
            with self._lock:
                response.message = self._write()
            response.success = True
        except (KdError, OSError) as error:
            response.message = (disk_refusal(error) if isinstance(error, OSError) else "") or str(error)
            response.success = False
            self.get_logger().error(response.message)
        return response

    def _settled(self) -> bool:
        """Whether the input is quiet and every sample is processed."""
        with self._lock:
            self._locate()
            quiet = time.monotonic() - self._last_input_s >= self.settings.quiet_s
            return quiet and not self._frames.open_samples()

    def _write(self) -> str:
        """Write all files; returns a sentence that sums up.

        Raises DataError if no Sample came, or results of several detectors.
        """
        out = self.settings.out
        if self._written:
            raise DataError("the evaluation was written already; configure the evaluator again for another")
        if self._sources.problem:
            raise DataError(f"nothing is scored: {self._sources.problem}")
        if not self._frames.samples:
            raise DataError("no Sample message came, so there is nothing to evaluate; replay a bag made by kd bag")
        self._finish_bag()
        write_text(out / STATUS_FILE, "".join(line + "\n" for line in self._statuses))
        write_results(out / RESULTS_FILE, self._frames.results())
        missing = self._frames.missing()
        for token, reason in missing.items():
            self.get_logger().warning(f"sample {token} has no detections: {reason}")
        text = f"{len(self._frames.samples) - len(missing)} of {len(self._frames.samples)} samples answered"
        if missing:
            first, reason = next(iter(missing.items()))
            named = ", ".join(list(missing)[:5]) + (" ..." if len(missing) > 5 else "")
            text += f" (no detections for {named}; {first}: {reason})"
        if self._nusc is not None:
            text += self._scored(out)
        if self._others:
            text += f"; {self._left_out()}"
        self._written = True
        return f"{text}; results in {out}" + (f"; but {self._bag_problem}" if self._bag_problem else "")

    def _scored(self, out: Path) -> str:
        """Score the results that were written; returns the end of a sentence."""
        results, scenes = self._frames.results(), self._frames.scenes()
        metrics = evaluate_results(self._nusc, out / RESULTS_FILE, scenes, out / SUMMARY_FILE, classes=self._classes)
        write_foxglove(out / FOXGLOVE_FILE, self._nusc, results, self._classes)
        return f", mAP {metrics.mean_ap:.4f}, NDS {metrics.nds:.4f}"

    def _finish_bag(self) -> None:
        """Finish the bag, or keep its problem for the report: the scores must not be lost with it."""
        bag, self._bag = self._bag, None
        if bag is None:  # an earlier call got this far
            return
        try:
            bag.__exit__(DataError if self._bag_problem else None, None, None)
        except DataError as error:
            self._bag_problem = str(error)
            self._health.problem("bag_problems", self._bag_problem)


def _status_row(stamp_ns: int, message: FrameStatus) -> StatusRow:
    """A FrameStatus as a line of the status file."""
    ages_ms = zip(message.camera_names, message.camera_age_ms, strict=True)
    return StatusRow(
        stamp_ns=stamp_ns,
        outcome=OUTCOMES.get(message.outcome, str(message.outcome)),
        reason=message.reason,
        stage_ms=dict(zip(message.stage_names, message.stage_ms, strict=True)),
        camera_age_ms={name: None if math.isnan(age) else age for name, age in ages_ms},
        missing_cameras=list(message.missing_cameras),
        memory_state=message.memory_state,
        reset_reason=message.reset_reason,
        model=message.model,
        engine=message.engine,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(Evaluator, arguments, partial(MultiThreadedExecutor, num_threads=2)))


if __name__ == "__main__":
    main()
