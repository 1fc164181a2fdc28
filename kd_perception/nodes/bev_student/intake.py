"""What the detector does with each message: sort it, count it, and pass frames on; nothing here blocks.

Nothing that arrives ends the node: what cannot be used is counted, reported in diagnostics, and a FrameStatus says why.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import CameraInfo, CompressedImage

from kd_perception.errors import DataError
from kd_perception.nodes.bev_student.arrivals import Arrivals
from kd_perception.nodes.bev_student.camera_watch import CameraWatch
from kd_perception.nodes.common.clocks import when_clock_goes_back
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.odometry import OdometryWatch, PoseSource, take_odometry
from kd_perception.nodes.common.outputs import Outputs
from kd_perception.nodes.common.reporting import FrameReporter
from kd_perception.nodes.common.stages import OverlappedStages
from kd_perception.options.detector import DetectorOptions
from kd_perception.ros.camera_topics import CameraInput
from kd_perception.ros.qos import CAMERA_INFO, ODOMETRY, SENSOR, SENSOR_RELIABLE
from kd_perception.ros.received import ReceivedImage, read_compressed_image, read_image
from kd_perception.ros.rig_source import RigSource
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.synchroniser import Synchroniser, SyncResult

ARRIVALS_PERIOD_S = 1.0
AHEAD_OF_CLOCK_NS = 200_000_000  # a stamp further ahead of a clock that went back is of the time before


@dataclass(frozen=True)
class Receivers:
    """Who gets what arrives; left_out: why the next frame is not worked on, '' if it is."""

    rig_source: RigSource
    poses: PoseSource
    watch: CameraWatch
    stages: OverlappedStages[FrameRecord[ReceivedImage]]
    left_out: Callable[[], str] = str


@dataclass(frozen=True)
class Reports:
    """Who says what became of it."""

    health: Health
    outputs: Outputs
    reporter: FrameReporter


class Intake:
    """The detector's subscriptions while it is active, and the synchroniser that makes frames of them."""

    def __init__(
        self,
        node: ManagedNode[DetectorOptions],
        topics: Sequence[CameraInput],
        receivers: Receivers,
        reports: Reports,
    ) -> None:
        self._node, self._topics = node, tuple(topics)
        self._names = node.settings.camera_names
        self._to, self._reports, self._health = receivers, reports, reports.health
        p = node.settings
        self._sync = Synchroniser[ReceivedImage](
            p.camera_names, int(p.sync_tolerance_ms * 1e6), p.sync_deadline_ms / 1e3
        )
        images = [camera.image for camera in topics]
        self._arrivals = Arrivals(p.camera_names, images, tolerance_ns=self._sync.tolerance_ns, now_s=time.monotonic())
        self._odometry = OdometryWatch()
        self._resets, self._reset_reason = 0, ""
        self._open = True

    def listen(self, ending: ExitStack) -> None:
        """Subscribe; `ending` takes the calls that end it."""
        ending.callback(self._end)
        node, p = self._node, self._node.settings
        image_qos = SENSOR_RELIABLE if p.reliable_input else SENSOR
        inputs = [node.create_subscription(Odometry, "~/input/odometry", self._receive_odometry, ODOMETRY)]
        for i, camera in enumerate(self._topics):
            receive, set_info = partial(self._receive_image, i), partial(self._to.rig_source.set_info, i)
            inputs.append(node.create_subscription(camera.kind, camera.image, receive, image_qos, raw=True))
            inputs.append(node.create_subscription(CameraInfo, camera.camera_info, set_info, CAMERA_INFO))
        for subscription in inputs:
            ending.callback(node.destroy_subscription, subscription)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = min(max(p.sync_deadline_ms / 4e3, 0.005), 0.1)
        for timer in (
            node.create_timer(period_s, lambda: self._handle(self._sync.poll(time.monotonic())), clock=steady),
            node.create_timer(ARRIVALS_PERIOD_S, self._report_arrivals, clock=steady),
        ):
            ending.callback(node.destroy_timer, timer)
        when_clock_goes_back(node.get_clock(), self._clock_went_back, ending)

    def _end(self) -> None:
        self._open = False

    def _receive_image(self, camera: int, cdr: bytes, info: dict) -> None:
        if not self._open:
            return  # taken before, delivered after the node was deactivated
        self._health.count("images_received")
        now_s = time.monotonic()
        self._arrivals.came(camera, now_s)
        if not self._reports.outputs.wanted():
            self._health.count("images_ignored_without_listeners")
            return
        self._watch_transport(camera, info)
        read = read_compressed_image if self._topics[camera].kind is CompressedImage else read_image
        name = self._names[camera]
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
            self._reports.reporter.refused(FrameRecord(image.stamp_ns, now_s), unstamped)

    def _watch_transport(self, camera: int, info: dict) -> None:
        """Report images that were lost on the way, and several publishers; `info` is the middleware's of a message."""
        publisher = info.get("publisher_gid", {}).get("data", b"")
        lost, several = self._to.watch.arrived(camera, publisher, info.get("publication_sequence_number"))
        name = self._names[camera]
        if lost:
            self._health.count("images_lost", lost)
            self._health.count(f"lost_{name}", lost)
            self._health.problem("transport_losses", f"camera '{name}': images are lost on the way, or come too fast")
        if several:
            self._health.problem("images_of_several_publishers", several)

    def _receive_odometry(self, message: Odometry) -> None:
        reason, refusal = take_odometry(message, self._odometry, self._to.poses)
        if reason:
            self._reset(reason)
        if refusal:
            self._health.problem("refused_odometry", refusal)

    def _clock_went_back(self, seconds: float) -> None:
        """What has a later stamp belongs to a time that has ended; messages of the new time may have overtaken the
        clock's and stay."""
        after_ns = self._node.get_clock().now().nanoseconds + AHEAD_OF_CLOCK_NS
        for record in self._sync.flush(after_ns):
            self._reports.reporter.dropped(record, "time jumped back before the other cameras came")
        self._to.poses.forget_after(after_ns)
        self._arrivals.restart()
        self._reset(f"the clock went back by {seconds:.3f} s")

    def _report_arrivals(self) -> None:
        """Cameras that are silent or never join; of silent ones, whether they publish by the other transport."""
        now_s, hints = time.monotonic(), {}
        compressed = self._node.settings.transport == "compressed"
        for camera in self._arrivals.silent(now_s):
            plain = self._topics[camera].image.removesuffix("/compressed")  # as image_transport names them
            topic = plain if compressed else f"{plain}/compressed"
            if self._node.count_publishers(topic):
                other = "raw" if compressed else "compressed"
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
        reporter = self._reports.reporter
        if result.late:
            self._health.problem("images_late", result.late_reason)
        for record in result.refused:
            reporter.refused(record, result.late_reason)
        for record in result.flushed:
            reporter.dropped(record, result.reset_reason)
        if result.reset_reason:
            self._arrivals.restart()
            self._to.poses.forget_after(result.newest_ns + AHEAD_OF_CLOCK_NS)
            self._reset(result.reset_reason)
        for record in result.frames:
            self._arrivals.framed(record, time.monotonic())
            record.resets, record.reset_cause = self._resets, self._reset_reason
            left_out = self._to.left_out()
            if left_out:
                reporter.dropped(record, left_out)
                continue
            replaced = self._to.stages.submit(record)
            if replaced is not None:
                reason = "a newer frame came while the detector was busy"
                self._health.problem("frames_overtaken", f"more frames come than can be processed: {reason}")
                reporter.dropped(replaced, reason)
