"""The detector node: images, calibration, tf, odometry in; boxes in base_link at the anchor's exposure out (REP-103).

Callbacks only sort messages; three threads decode, infer and publish, on the newest frame, while somebody listens.
Nothing that arrives on a topic ends the node: it is counted, reported in diagnostics, and a FrameStatus says why.
"""

import sys
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from kd_perception.errors import DataError, KdError
from kd_perception.nodes.bev_student.arrivals import Arrivals
from kd_perception.nodes.bev_student.camera_watch import CameraWatch
from kd_perception.nodes.bev_student.detection import FrameDetector
from kd_perception.nodes.bev_student.odometry import OdometryWatch, PoseSource
from kd_perception.nodes.bev_student.output_formats import chosen_formats
from kd_perception.nodes.bev_student.outputs import Outputs
from kd_perception.nodes.bev_student.reporting import FrameReporter
from kd_perception.nodes.bev_student.stages import OverlappedStages
from kd_perception.nodes.common.health import DelayMonitor, Health
from kd_perception.nodes.common.node import ProcessNode, run, wait_for_subscribers
from kd_perception.nodes.common.parameters import declare_parameters, read_parameters
from kd_perception.options.detector import DetectorOptions
from kd_perception.ros.geometry import from_pose
from kd_perception.ros.qos import CAMERA_INFO, ODOMETRY, SENSOR, SENSOR_RELIABLE
from kd_perception.ros.received import ReceivedImage, read_compressed_image, read_image
from kd_perception.ros.rectified import rectified_cameras
from kd_perception.ros.rig_source import RigSource
from kd_perception.ros.stamps import to_nanoseconds
from kd_perception.ros.tf import open_transforms
from kd_perception.runtime.camera_motion import CameraMotion
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.ignore_mask import load_ignore_masks
from kd_perception.runtime.pipeline import Pipeline, PipelineOptions
from kd_perception.runtime.synchroniser import Synchroniser, SyncResult
from kd_perception.student.spec import load_student

ARRIVALS_PERIOD_S = 1.0
AHEAD_OF_CLOCK_NS = 200_000_000  # a stamp further ahead of a clock that went back is of the time before
READERS = {
    "compressed": (CompressedImage, "image/compressed", read_compressed_image),
    "raw": (Image, "image", read_image),
}


class BevStudent(ProcessNode):
    """Lifecycle: configure loads the student, activate listens, deactivate stops that, cleanup frees the student."""

    def __init__(self) -> None:
        super().__init__("bev_student")
        declare_parameters(self, DetectorOptions())
        self._pipeline: Pipeline | None = None
        self._stages: OverlappedStages[FrameRecord[ReceivedImage]] | None = None

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the student and open the engine; fails with a logged sentence."""
        try:
            self._settings = p = read_parameters(self, DetectorOptions)
            self._rectified = rectified_cameras(p.rectified, self._image_topics())
            self._ignored = load_ignore_masks(p.ignore_mask, p.camera_names)
            formats = chosen_formats(p.output_messages)
            student = load_student(p.student_file)
            options = PipelineOptions(
                threads=p.threads,
                cache_folder=p.engine_cache,
                report=self.get_logger().info,
                score_threshold=p.score_threshold,
                views=p.views_per_camera,
            )
            self._pipeline = Pipeline(student, p.engine, len(p.camera_names), options)
        except KdError as error:
            self.get_logger().error(str(error))
            return TransitionCallbackReturn.FAILURE
        self.get_logger().info(
            f"{student.model_id} runs on {self._pipeline.engine.name} for {len(p.camera_names)} cameras"
        )
        if p.build_only:
            not_kept = self._pipeline.engine.not_kept
            if not_kept:
                self.get_logger().error(not_kept)
            self.exit_code = 1 if not_kept else 0
        self._health = Health(
            self, DelayMonitor(p.max_allowed_processing_time_ms, p.max_acceptable_consecutive_delay_ms)
        )
        self._health.detail({"model": student.model_id, "engine": self._pipeline.engine.name})
        self._outputs = Outputs(
            self, formats, frame_id=p.base_frame, camera_names=p.camera_names, model=student.model_id
        )
        self._reporter = FrameReporter(
            p.camera_names, self._outputs, self._health, self._pipeline.engine, self.get_logger().error
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start listening, once the expected subscribers are there."""
        p = self._settings
        problem = wait_for_subscribers(
            p.wait_for_subscribers, self._outputs.named, p.subscriber_timeout_s, lambda: False
        )
        if problem:
            self.get_logger().error(problem)
            return TransitionCallbackReturn.FAILURE
        deadline_s = p.sync_deadline_ms / 1e3
        self._sync = Synchroniser[ReceivedImage](p.camera_names, int(p.sync_tolerance_ms * 1e6), deadline_s)
        self._watch = CameraWatch(p.camera_names)
        topics = self._image_topics()
        self._arrivals = Arrivals(p.camera_names, topics, tolerance_ns=self._sync.tolerance_ns, now_s=time.monotonic())
        self._odometry = OdometryWatch()
        self._resets, self._reset_reason = 0, ""
        self._outputs.restart()
        if self._pipeline.needs_pose:
            self._pipeline.reset("the node was activated")
        self._transforms = open_transforms(self, partial(self._health.problem, "refused_transforms"))
        self._rig_source = RigSource(
            p.camera_names, p.base_frame, self._transforms, rectified=self._rectified, ignored=self._ignored
        )
        self._poses = PoseSource(self._transforms, p.odometry_frame, p.base_frame)
        motion = CameraMotion(self._poses.lookup) if p.camera_motion else None
        self._detector = FrameDetector(
            self._pipeline,
            self._rig_source,
            self._poses,
            self._watch,
            deadline_s=deadline_s,
            camera_motion=motion,
        )
        self._stages = OverlappedStages(self._detector.prepare, self._detector.infer, self._reporter.finished)
        self._listen()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening; the frames at work are finished."""
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
        """Stop the threads and free the student."""
        self._stop_listening()
        self._release()

    def _listen(self) -> None:
        p = self._settings
        kind, suffix, read = READERS[p.transport]
        image_qos = SENSOR_RELIABLE if p.reliable_input else SENSOR
        self._inputs = [self.create_subscription(Odometry, "~/input/odometry", self._receive_odometry, ODOMETRY)]
        for i in range(len(p.camera_names)):
            prefix = f"~/input/camera{i}"
            receive = partial(self._receive_image, i, read)
            self._inputs.append(self.create_subscription(kind, f"{prefix}/{suffix}", receive, image_qos, raw=True))
            set_info = partial(self._rig_source.set_info, i)
            self._inputs.append(self.create_subscription(CameraInfo, f"{prefix}/camera_info", set_info, CAMERA_INFO))
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = min(max(p.sync_deadline_ms / 4e3, 0.005), 0.1)
        self._timer = self.create_timer(period_s, lambda: self._handle(self._sync.poll(time.monotonic())), clock=steady)
        self._arrivals_timer = self.create_timer(ARRIVALS_PERIOD_S, self._report_arrivals, clock=steady)
        backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jump_handle = self.get_clock().create_jump_callback(backwards, post_callback=self._clock_jumped)

    def _stop_listening(self) -> None:
        if self._stages is None:
            return
        self._jump_handle.unregister()
        self.destroy_timer(self._timer)
        self.destroy_timer(self._arrivals_timer)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._detector.stop_waiting()
        waiting = self._stages.stop()
        self._stages = None
        if waiting is not None:
            self._reporter.dropped(waiting, "the node was deactivated")
        self._transforms.close()

    def _release(self) -> None:
        if self._pipeline is None:
            return
        self._health.close()
        self._outputs.close()
        self._pipeline.close()
        self._pipeline = None

    # Callbacks: sort messages, never block

    def _receive_image(self, camera: int, read, cdr: bytes, info: dict) -> None:  # noqa: ANN001 - one of READERS
        if self._stages is None:
            return  # taken before, delivered after the node was deactivated
        self._health.count("images_received")
        now_s = time.monotonic()
        self._arrivals.came(camera, now_s)
        if not self._outputs.wanted():
            self._health.count("images_ignored_without_listeners")
            return
        publisher = info.get("publisher_gid", {}).get("data", b"")
        lost, several = self._watch.arrived(camera, publisher, info.get("publication_sequence_number"))
        name = self._settings.camera_names[camera]
        if lost:
            self._health.count("images_lost", lost)
            self._health.count(f"lost_{name}", lost)
            self._health.problem("transport_losses", f"camera '{name}': images are lost on the way, or come too fast")
        if several:
            self._health.problem("images_of_several_publishers", several)
        try:
            image = read(cdr)
        except DataError as error:
            self._health.problem("camera_problems", f"camera '{name}': {error}")
            return
        if image.stamp_ns > 0:
            self._arrivals.stamped(camera, image.stamp_ns, now_s)
            self._handle(self._sync.add(camera, image.stamp_ns, image, now_s))
            return
        unstamped = f"camera '{name}': its images have no stamp (0 s); let its driver stamp them at exposure"
        self._health.problem("images_without_stamp", unstamped)
        if camera == 0:
            self._reporter.refused(FrameRecord(image.stamp_ns, now_s), unstamped)

    def _receive_odometry(self, message: Odometry) -> None:
        stamp_ns = to_nanoseconds(message.header.stamp)
        position, linear = message.pose.pose.position, message.twist.twist.linear
        speed = float(np.linalg.norm([linear.x, linear.y, linear.z]))
        reason = self._odometry.add(stamp_ns, np.array([position.x, position.y, position.z]), speed)
        if reason:
            self._reset(reason)
        frames = message.header.frame_id.lstrip("/"), message.child_frame_id.lstrip("/")
        try:
            self._poses.add(stamp_ns, *frames, from_pose(message.pose.pose))
        except KdError as error:
            self._health.problem("refused_odometry", f"odometry was refused: {error}")

    def _clock_jumped(self, jump: TimeJump) -> None:
        """The clock went back: a bag loops, or a simulation was reset. What has a later stamp belongs to a time that
        has ended; messages of the new time may have overtaken the clock's and stay."""
        after_ns = self.get_clock().now().nanoseconds + AHEAD_OF_CLOCK_NS
        for record in self._sync.flush(after_ns):
            self._reporter.dropped(record, "time jumped back before the other cameras came")
        self._poses.forget_after(after_ns)
        self._arrivals.restart()
        self._reset(f"the clock went back by {-jump.delta.nanoseconds / 1e9:.3f} s")

    def _image_topics(self) -> list[str]:
        """Topic of each camera's images, after remapping."""
        suffix, count = READERS[self._settings.transport][1], len(self._settings.camera_names)
        return [self.resolve_topic_name(f"~/input/camera{i}/{suffix}") for i in range(count)]

    def _report_arrivals(self) -> None:
        """Cameras that are silent or never join; of silent ones, whether they publish by the other transport."""
        now_s, hints, topics = time.monotonic(), {}, self._image_topics()
        other = "raw" if self._settings.transport == "compressed" else "compressed"
        for camera in self._arrivals.silent(now_s):
            plain = topics[camera].removesuffix("/compressed")  # as image_transport names them
            topic = plain if other == "raw" else f"{plain}/compressed"
            if self.count_publishers(topic):
                hints[camera] = f"it publishes on {topic}: set the parameter transport to {other}"
        found = {"silent_cameras": self._arrivals.silences(now_s, hints), "cameras_apart": self._arrivals.apart(now_s)}
        for kind, sentences in found.items():
            if sentences:
                self._health.problem(kind, "; ".join(sentences))

    def _reset(self, reason: str) -> None:
        """Frames that come from now on have no past; the first that is processed reports why."""
        self._resets, self._reset_reason = self._resets + 1, reason
        self._health.problem("resets", reason)

    def _handle(self, result: SyncResult[ReceivedImage]) -> None:
        if result.late:
            self._health.problem("images_late", result.late_reason)
        for record in result.refused:
            self._reporter.refused(record, result.late_reason)
        for record in result.flushed:
            self._reporter.dropped(record, result.reset_reason)
        if result.reset_reason:
            self._arrivals.restart()
            self._poses.forget_after(result.newest_ns + AHEAD_OF_CLOCK_NS)
            self._reset(result.reset_reason)
        for record in result.frames:
            self._arrivals.framed(record, time.monotonic())
            record.resets, record.reset_cause = self._resets, self._reset_reason
            replaced = self._stages.submit(record)
            if replaced is not None:
                self._overloaded(replaced)

    def _overloaded(self, record: FrameRecord) -> None:
        reason = "a newer frame came while the detector was busy"
        self._health.problem("frames_overtaken", f"more frames come than can be processed: {reason}")
        self._reporter.dropped(record, reason)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(BevStudent, arguments))


if __name__ == "__main__":
    main()
