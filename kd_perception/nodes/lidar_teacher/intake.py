"""What the LiDAR teacher does with each message: keep it, count it, and begin frames in time; nothing here blocks."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from sensor_msgs.msg import PointCloud2

from kd_perception.errors import DataError
from kd_perception.nodes.common.clocks import when_clock_goes_back
from kd_perception.nodes.common.health import Health
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.odometry import OdometryWatch, PoseSource, take_odometry
from kd_perception.nodes.common.outputs import Outputs
from kd_perception.nodes.common.reporting import FrameReporter
from kd_perception.nodes.common.stages import OverlappedStages
from kd_perception.nodes.lidar_teacher.kept_clouds import KeptCloud, KeptClouds, Pace
from kd_perception.options.teacher import TeacherOptions
from kd_perception.ros.cdr import read_header
from kd_perception.ros.qos import ODOMETRY, SENSOR, SENSOR_RELIABLE
from kd_perception.runtime.frame import FrameRecord

ARRIVALS_PERIOD_S = 1.0
MISSING_S = 3.0  # without a cloud


@dataclass(frozen=True)
class CloudReceivers:
    """Who gets what arrives."""

    clouds: KeptClouds
    poses: PoseSource
    stages: OverlappedStages[FrameRecord[KeptCloud]]
    pace: Pace


@dataclass(frozen=True)
class CloudReports:
    """Who says what became of it."""

    health: Health
    outputs: Outputs
    reporter: FrameReporter


class CloudIntake:
    """The teacher's subscriptions while it is active. LiDAR 0 gives frames their time."""

    def __init__(
        self,
        node: ManagedNode[TeacherOptions],
        topics: Sequence[str],
        receivers: CloudReceivers,
        reports: CloudReports,
    ) -> None:
        self._node, self._topics = node, tuple(topics)
        self._to, self._reports, self._health = receivers, reports, reports.health
        self._odometry = OdometryWatch()
        self._came_s = [time.monotonic()] * len(topics)
        self._open = True

    def listen(self, ending: ExitStack) -> None:
        """Subscribe; `ending` takes the calls that end it."""
        ending.callback(self._end)
        node = self._node
        qos = SENSOR_RELIABLE if node.settings.reliable_input else SENSOR
        inputs = [node.create_subscription(Odometry, "~/input/odometry", self._receive_odometry, ODOMETRY)]
        for lidar, topic in enumerate(self._topics):
            receive = partial(self._receive_cloud, lidar)
            inputs.append(node.create_subscription(PointCloud2, topic, receive, qos, raw=True))
        for subscription in inputs:
            ending.callback(node.destroy_subscription, subscription)
        timer = node.create_timer(
            ARRIVALS_PERIOD_S, self._report_silence, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        ending.callback(node.destroy_timer, timer)
        when_clock_goes_back(node.get_clock(), self._clock_went_back, ending)

    def _end(self) -> None:
        self._open = False

    def _receive_cloud(self, lidar: int, cdr: bytes) -> None:
        if not self._open:
            return  # taken before, delivered after the node was deactivated
        self._health.count("clouds_received")
        now_s = time.monotonic()
        self._came_s[lidar] = now_s
        if not self._reports.outputs.wanted():
            self._health.count("clouds_ignored_without_listeners")
            return
        try:
            stamp_ns, frame_id = read_header(cdr)
        except DataError as error:
            self._health.problem("cloud_problems", f"a cloud on {self._topics[lidar]} cannot be read: {error}")
            return
        cloud = KeptCloud(lidar, stamp_ns, frame_id.lstrip("/"), cdr, now_s)
        refusal, reset = self._to.clouds.add(cloud)
        if refusal:
            self._health.problem("clouds_late" if stamp_ns > 0 else "clouds_without_stamp", refusal)
            return
        if reset:
            self._to.poses.forget_after(stamp_ns)
            self._health.problem("resets", reset)
        if lidar == 0 and self._may_begin() and self._to.pace.due(now_s):
            self._begin(FrameRecord(stamp_ns, now_s, messages=(cloud,)))

    def _may_begin(self) -> bool:
        """With a pace every frame that begins is answered, on fresh clouds: it waits for the one before. Without one
        the newest cloud wins."""
        return not self._to.pace.rate_hz or self._to.stages.idle

    def _begin(self, record: FrameRecord[KeptCloud]) -> None:
        replaced = self._to.stages.submit(record)
        if replaced is not None:
            reason = "a newer cloud came while the teacher was busy"
            self._health.problem("frames_overtaken", f"more frames come than can be processed: {reason}; set rate_hz")
            self._reports.reporter.dropped(replaced, reason)

    def _receive_odometry(self, message: Odometry) -> None:
        reason, refusal = take_odometry(message, self._odometry, self._to.poses)
        if reason:
            self._forget(reason)
        if refusal:
            self._health.problem("refused_odometry", refusal)

    def _clock_went_back(self, seconds: float) -> None:
        self._to.poses.forget_after(self._node.get_clock().now().nanoseconds)
        self._forget(f"the clock went back by {seconds:.3f} s")

    def _forget(self, reason: str) -> None:
        """Sweeps from before say nothing of where things are now."""
        self._to.clouds.forget()
        self._health.problem("resets", reason)

    def _report_silence(self) -> None:
        now_s = time.monotonic()
        for topic, came_s in zip(self._topics, self._came_s, strict=True):
            if now_s - came_s < MISSING_S:
                continue
            why = "its driver is silent, or of another type or QoS"
            if not self._node.count_publishers(topic):
                why = "nobody publishes there"
            sentence = f"no cloud for {now_s - came_s:.0f} s on {topic}: {why}; check the driver and lidar_topics"
            self._health.problem("silent_lidars", sentence)
