"""The detector node: images, calibration, tf, odometry in; boxes in base_link at the anchor's exposure out (REP-103).

Callbacks only sort messages; a worker thread detects, on the newest frame, while somebody listens. Nothing that arrives
on a topic ends the node: it is counted, reported in diagnostics and answered with a FrameStatus that says why.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from kd_msgs.msg import FrameStatus
from kd_perception.errors import CalibrationError, DataError, KdError
from kd_perception.nodes.health import DelayMonitor, Health
from kd_perception.nodes.odometry import OdometryWatch
from kd_perception.nodes.outputs import Answer, Outputs
from kd_perception.nodes.parameters import declare_parameters, parameter, read_parameters
from kd_perception.nodes.process import ProcessNode, run, wait_for_subscribers
from kd_perception.nodes.worker import LatestWorker
from kd_perception.nuscenes import CAMERA_CHANNELS
from kd_perception.pipeline import Pipeline
from kd_perception.ros.images import from_image
from kd_perception.ros.qos import CAMERA_INFO, ODOMETRY, SENSOR, SENSOR_RELIABLE
from kd_perception.ros.rig_source import Rig, RigSource
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf import open_transforms
from kd_perception.student import load_student
from kd_perception.sync import SyncedFrame, Synchroniser, SyncResult

CALIBRATION_POLL_S = 0.01


@dataclass(frozen=True)
class BevStudentParameters:
    """Parameters of the detector node; read on configure."""

    model: str = parameter("", "student file (.onnx) written by kd export")
    engine: str = parameter("auto", "inference engine: auto, openvino, onnxruntime or another that is installed")
    camera_names: tuple[str, ...] = parameter(
        CAMERA_CHANNELS, "the rig's cameras in order, the anchor first; camera{i} is the i-th"
    )
    transport: str = parameter("compressed", "what cameras publish", choices=("compressed", "raw"))
    base_frame: str = parameter("base_link", "frame of the boxes")
    score_threshold: float = parameter(0.1, "lowest score of a published box", 0.0, 1.0)
    threads: int = parameter(0, "threads of the inference engine; 0 lets it choose", 0, 256)
    sync_tolerance_ms: float = parameter(
        60.0, "greatest distance of a camera's exposure from the anchor's, ms", 0.0, 1000.0
    )
    sync_deadline_ms: float = parameter(
        100.0, "longest wait for other cameras, and for calibration, after the anchor image came, ms", 0.0, 60000.0
    )
    reliable_input: bool = parameter(False, "ask cameras for reliable delivery (evaluation from a bag)")
    max_allowed_processing_time_ms: float = parameter(
        200.0, "a slower frame is a warning in diagnostics, ms", 0.0, 60000.0
    )
    max_acceptable_consecutive_delay_ms: float = parameter(
        1000.0, "slow for longer than this is an error in diagnostics, ms", 0.0, 600000.0
    )
    build_only: bool = parameter(False, "open the engine (which may build and cache it), then exit")
    wait_for_subscribers: tuple[str, ...] = parameter(
        (), "entries output=count (objects, markers, status): activation waits for them"
    )
    subscriber_timeout_s: float = parameter(30.0, "longest wait for subscribers on activation, s", 0.0, 600.0)


class BevStudent(ProcessNode):
    """Lifecycle: configure loads the student, activate listens, deactivate stops that, cleanup frees the student."""

    def __init__(self) -> None:
        super().__init__("bev_student")
        declare_parameters(self, BevStudentParameters)
        self._pipeline: Pipeline | None = None
        self._worker: LatestWorker[SyncedFrame] | None = None

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the student and open the engine; fails with a logged sentence."""
        try:
            self._settings = p = read_parameters(self, BevStudentParameters)
            student = load_student(Path(p.model))
            self._pipeline = Pipeline(student, p.engine, len(p.camera_names), p.score_threshold, p.threads)
        except KdError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self.get_logger().info(
            f"{student.model_id} runs on {self._pipeline.engine.name} for {len(p.camera_names)} cameras"
        )
        if p.build_only:
            self.exit_code = 0
        self._health = Health(
            self, DelayMonitor(p.max_allowed_processing_time_ms, p.max_acceptable_consecutive_delay_ms)
        )
        self._health.detail({"model": student.model_id, "engine": self._pipeline.engine.name})
        self._outputs = Outputs(self, p.base_frame, p.camera_names, student.model_id)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start listening, once the expected subscribers are there."""
        p = self._settings
        problem = wait_for_subscribers(
            self, p.wait_for_subscribers, self._outputs.named, p.subscriber_timeout_s, lambda: False
        )
        if problem:
            self.get_logger().error(problem)
            return TransitionCallbackReturn.FAILURE
        self._sync = Synchroniser[Image | CompressedImage](
            p.camera_names, int(p.sync_tolerance_ms * 1e6), p.sync_deadline_ms / 1e3
        )
        self._odometry = OdometryWatch()
        self._reset_reason = ""  # told with the next frame
        self._outputs.restart()
        self._transforms = open_transforms(self, partial(self._health.problem, "refused_transforms"))
        self._rig_source = RigSource(p.camera_names, p.base_frame, self._transforms)
        self._worker = LatestWorker(self._work)
        self._listen()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the frame at work is finished."""
        self._stop_listening()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the student."""
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from whatever state."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop the worker and free the student."""
        self._stop_listening()
        self._release()

    def _listen(self) -> None:
        p = self._settings
        kind, suffix = (CompressedImage, "image/compressed") if p.transport == "compressed" else (Image, "image")
        image_qos = SENSOR_RELIABLE if p.reliable_input else SENSOR
        self._inputs = [self.create_subscription(Odometry, "~/input/odometry", self._receive_odometry, ODOMETRY)]
        for i in range(len(p.camera_names)):
            prefix = f"~/input/camera{i}"
            self._inputs.append(
                self.create_subscription(kind, f"{prefix}/{suffix}", partial(self._receive_image, i), image_qos)
            )
            self._inputs.append(
                self.create_subscription(
                    CameraInfo, f"{prefix}/camera_info", partial(self._rig_source.set_info, i), CAMERA_INFO
                )
            )
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = min(max(p.sync_deadline_ms / 4e3, 0.005), 0.1)
        self._timer = self.create_timer(period_s, lambda: self._handle(self._sync.poll(time.monotonic())), clock=steady)
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jump_handle = self.get_clock().create_jump_callback(backwards, post_callback=self._clock_jumped)

    def _stop_listening(self) -> None:
        if self._worker is None:
            return
        self._jump_handle.unregister()
        self.destroy_timer(self._timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        waiting = self._worker.stop()
        self._worker = None
        if waiting is not None:
            self._drop(waiting.stamp_ns, "the node was deactivated")
        self._transforms.close()

    def _release(self) -> None:
        if self._pipeline is None:
            return
        self._health.close()
        self._outputs.close()
        self._pipeline = None

    # Callbacks: sort messages, never block

    def _receive_image(self, camera: int, message: Image | CompressedImage) -> None:
        self._health.count("images_received")
        if not self._outputs.wanted():
            self._health.count("images_ignored_without_listeners")
            return
        self._handle(self._sync.add(camera, to_nanoseconds(message.header.stamp), message, time.monotonic()))

    def _receive_odometry(self, message: Odometry) -> None:
        position, linear = message.pose.pose.position, message.twist.twist.linear
        speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
        reason = self._odometry.add(
            to_nanoseconds(message.header.stamp), np.array([position.x, position.y, position.z]), speed
        )
        if reason:
            self._reset(reason)

    def _clock_jumped(self, jump: TimeJump) -> None:
        """The clock went back: a bag loops, or a simulation was reset. What came before belongs to another time."""
        for stamp_ns in self._sync.flush():
            self._drop(stamp_ns, "time jumped back before the other cameras came")
        self._transforms.clear()
        self._reset(f"the clock went back by {-jump.delta.nanoseconds / 1e9:.3f} s")

    def _reset(self, reason: str) -> None:
        self._reset_reason = reason
        self._health.problem("resets", reason)

    def _handle(self, result: SyncResult[Image | CompressedImage]) -> None:
        if result.late:
            self._health.count("images_late", result.late)
        for stamp_ns in result.flushed:
            self._drop(stamp_ns, result.reset_reason)
        if result.reset_reason:
            self._transforms.clear()
            self._reset(result.reset_reason)
        for frame in result.frames:
            replaced = self._worker.submit(frame)
            if replaced is not None:
                self._drop(replaced.stamp_ns, "a newer frame came while the detector was busy")

    def _drop(self, stamp_ns: int, reason: str) -> None:
        self._health.count("frames_dropped")
        self._outputs.status(Answer(stamp_ns, FrameStatus.DROPPED, reason))

    # The worker's thread

    def _work(self, frame: SyncedFrame[Image | CompressedImage]) -> None:
        """Answer one frame, whatever happens."""
        self._reset_reason, reset_reason = "", self._reset_reason
        try:
            self._outputs_of(frame, reset_reason)
        except KdError as error:
            self._reject(frame, str(error), reset_reason)
        except Exception as error:  # a fault of the engine or a bug must not end the robot's detector
            self._reject(
                frame,
                f"the detector failed on this frame ({type(error).__name__}: {error}); please report it",
                reset_reason,
            )

    def _reject(self, frame: SyncedFrame[Image | CompressedImage], reason: str, reset_reason: str) -> None:
        self._health.problem("frames_rejected", reason)
        self._outputs.status(Answer(frame.stamp_ns, FrameStatus.REJECTED, reason, {}, frame.ages_ns, (), reset_reason))

    def _outputs_of(self, frame: SyncedFrame[Image | CompressedImage], reset_reason: str) -> None:
        started_s = time.monotonic()
        rig = self._wait_for_rig(frame)
        self._pipeline.set_rig(rig.cameras)
        images, unreadable = self._images(frame, rig)
        detections = self._pipeline.detect(images)
        detected_s = time.monotonic()
        self._outputs.boxes(detections.boxes, frame.stamp_ns)
        done_s = time.monotonic()
        refused = {**unreadable, **detections.rejected}
        for sentence in (*rig.problems.values(), *refused.values()):
            self._health.problem("camera_problems", sentence)
        missing = [name for name in self._settings.camera_names if name in {*detections.missing, *refused}]
        for name in missing:
            self._health.count(f"missing_{name}")
        stage_ms = {
            "wait": 1e3 * (started_s - frame.arrival_s), **detections.stage_ms,
            "messages": 1e3 * (done_s - detected_s), "end_to_end": 1e3 * (done_s - frame.arrival_s),
        }  # fmt: skip
        answer = Answer(frame.stamp_ns, FrameStatus.ANSWERED, "", stage_ms, frame.ages_ns, missing, reset_reason)
        self._outputs.status(answer)
        self._outputs.latency(answer)
        self._health.count("frames_answered")
        self._health.processed(detections.stage_ms["total"])

    def _wait_for_rig(self, frame: SyncedFrame[Image | CompressedImage]) -> Rig:
        """The calibration of the cameras that have an image, waited for until the deadline; the anchor's must come."""
        names = self._settings.camera_names
        needed = {name for name, image in zip(names, frame.images, strict=True) if image is not None}
        while True:
            rig = self._rig_source.rig(frame.stamp_ns)
            waiting = needed & set(rig.problems)
            if (
                not waiting
                or self._worker.stopping
                or time.monotonic() - frame.arrival_s > self._settings.sync_deadline_ms / 1e3
            ):
                break
            time.sleep(CALIBRATION_POLL_S)
        if names[0] in rig.problems:
            raise CalibrationError(rig.problems[names[0]])
        return rig

    def _images(
        self, frame: SyncedFrame[Image | CompressedImage], rig: Rig
    ) -> tuple[list[bytes | np.ndarray | None], dict[str, str]]:
        """Images as the pipeline takes them (None: missing or uncalibrated); camera name -> why one is unreadable."""
        images: list[bytes | np.ndarray | None] = []
        unreadable = {}
        for name, message in zip(self._settings.camera_names, frame.images, strict=True):
            image = None
            if message is not None and name not in rig.problems:
                try:
                    image = bytes(message.data) if isinstance(message, CompressedImage) else from_image(message)
                except DataError as error:
                    unreadable[name] = f"camera '{name}': {error}"
            images.append(image)
        return images, unreadable


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    run(BevStudent, arguments)


if __name__ == "__main__":
    main()
