"""Plays a rosbag2 into the graph: serialised messages untouched, /clock, latched topics; in real time or in lockstep.

Lockstep plays as fast as the graph processes frames: after every Sample it waits for the FrameStatus with its stamp.
"""

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from kd_msgs.msg import FrameStatus
from kd_perception.bags.reader import BagReader, Topic
from kd_perception.errors import DataError, KdError
from kd_perception.nodes.common.managed_node import ManagedNode
from kd_perception.nodes.common.node import POLL_S, bug_report, call_service, run, wait_for_subscribers
from kd_perception.nodes.replay.player import Player, Stage
from kd_perception.options.replay import ReplayOptions
from kd_perception.ros.message_types import message_class
from kd_perception.ros.publishing import publish
from kd_perception.ros.qos import EVERY_RESULT
from kd_perception.ros.stamps import to_nanoseconds, to_time

CLOCK_TOPIC = "/clock"
QUEUE_DEPTH = 100
LATCHED_DEPTH = 1000
SETTLE_S = 0.5  # a listener that this node has matched may match it a moment later, and would miss the first image
ACK_TIMEOUT_S = 2.0  # at the end, for the last messages to arrive: listeners may be gone or stuck


class Replay(ManagedNode[ReplayOptions]):
    """Lifecycle: configure opens the bag, activate plays it in a thread; the process ends with the bag."""

    def __init__(
        self, options: ReplayOptions | None = None, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """`options`: its parameters' defaults; the playing thread calls `on_progress(played, total)` in messages."""
        super().__init__("replay", options or ReplayOptions())
        self._on_progress = on_progress
        self._stop = threading.Event()

    def configure(self, ending: ExitStack) -> None:
        """Open the bag and create its topics; refuses a bag of which nothing can be played."""
        p = self.settings
        self._logged_problems = 0
        self._bag = BagReader(p.bag)
        ending.callback(self._bag.close)
        self._log_problems()
        self._topics = self._open_topics(self._bag)
        self._clock_topic = self.create_publisher(Clock, CLOCK_TOPIC, QoSProfile(depth=10))
        for publisher in (*self._topics.values(), self._clock_topic):
            ending.callback(self.destroy_publisher, publisher)
        stage = Stage(frozenset(self._topics), self._publish, self._tick, self._on_progress)
        self._player = Player(self._bag, p, stage, self._stop)
        status = self.create_subscription(FrameStatus, "~/input/status", self._receive_status, EVERY_RESULT)
        ending.callback(self.destroy_subscription, status)
        self._finished = None
        if p.finished_service:
            self._finished = self.create_client(Trigger, p.finished_service)
            ending.callback(self.destroy_client, self._finished)
        self._detector = self.create_client(GetState, f"{p.detector}/get_state")  # last: see its use
        ending.callback(self.destroy_client, self._detector)

    def activate(self, ending: ExitStack) -> None:
        """Start playing, from the beginning."""
        self._stop.clear()
        thread = threading.Thread(target=self._play, name="replay", daemon=True)
        thread.start()
        ending.callback(thread.join)
        ending.callback(self._player.answered.wake)
        ending.callback(self._stop.set)

    def _log_problems(self) -> None:
        """Log what the bag has found since."""
        for problem in self._bag.problems[self._logged_problems :]:
            self.get_logger().warning(problem)
        self._logged_problems = len(self._bag.problems)

    def _open_topics(self, bag: BagReader) -> dict[str, Publisher]:
        """Publishers with the recorded types, except where they are not installed (with a sentence); replay has its own
        /clock. Raises DataError if no message can be published."""
        types, reasons = {}, []
        for topic in bag.topics:
            try:
                if topic.name != CLOCK_TOPIC:
                    types[topic] = message_class(topic.type_name)
            except DataError as error:
                reasons.append(f"topic {topic.name} is not played: {error}")
                self.get_logger().warning(reasons[-1])
        if not any(topic.count for topic in types):
            why = "; ".join(reasons) or "it holds no messages besides /clock"
            raise DataError(f"nothing of bag {bag.path} can be played: {why}")
        return {topic.name: self._publisher(topic, kind) for topic, kind in types.items()}

    def _publisher(self, topic: Topic, kind: type) -> Publisher:
        durability = DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE
        depth = LATCHED_DEPTH if topic.latched else QUEUE_DEPTH
        qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=durability
        )
        return self.create_publisher(kind, self._played_as(topic.name), qos)

    def _played_as(self, recorded: str) -> str:
        """A topic's name below this node's namespace, where it may have been recorded."""
        namespace = self.get_namespace().rstrip("/")
        return recorded if recorded.startswith(f"{namespace}/") else f"{namespace}{recorded}"

    def _by_any_name(self) -> dict[str, Publisher]:
        """Publishers by the recorded name, with and without its slash, and by the name that they have here."""
        return {
            name: publisher
            for recorded, publisher in self._topics.items()
            for name in (recorded, recorded.removeprefix("/"), publisher.topic_name)
        }

    def _receive_status(self, message: FrameStatus) -> None:
        self._player.answered.add(to_nanoseconds(message.header.stamp))

    # The playing thread

    def _play(self) -> None:
        """Play to the end and end the process: 0, or 1 with a sentence in the log."""
        p = self.settings
        try:
            problem = wait_for_subscribers(
                self, p.wait_for_subscribers, self._by_any_name(), p.subscriber_timeout_s, self._stop.is_set
            )
            if problem:
                raise DataError(problem)
            if p.lockstep:
                self._wait_for_detector()
            self._stop.wait(SETTLE_S)
            first_ns = self._play_round()
            while p.loop and not self._stop.is_set():
                self._player.go_back(first_ns)
                self._play_round()
            if not self._stop.is_set():
                self._finish()
                self.exit_code = 0
        except KdError as error:
            if not self._stop.is_set():
                self.get_logger().error(str(error))
                self.exit_code = 1
        except Exception as error:  # a thread's end is noticed by nobody: the process would wait for good
            self.get_logger().error(bug_report("replay", error))
            self.exit_code = 1

    def _wait_for_detector(self) -> None:
        """Block until the detector is active and knows all our topics; raises DataError after the timeout.

        Its response to our client proves the latter: discovery is in order, and the client was created last.
        """
        p = self.settings
        deadline_s = time.monotonic() + p.subscriber_timeout_s
        label = "absent"
        while not self._stop.is_set():
            response = call_service(self._detector, GetState.Request(), 1.0, self._stop.is_set)
            if response is not None and response.current_state.id == State.PRIMARY_STATE_ACTIVE:
                return
            label = label if response is None else response.current_state.label
            if time.monotonic() > deadline_s:
                raise DataError(
                    f"the detector {self.resolve_service_name(p.detector)}, which lockstep waits for, is {label}; "
                    "start and activate it"
                )
            self._stop.wait(POLL_S)

    def _play_round(self) -> int:
        """Play once; returns the first recording time (ns)."""
        started_s = time.monotonic()
        played = self._player.play()
        self._log_problems()
        if not self._stop.is_set():
            self.get_logger().info(
                f"played {self._bag.path.name}: {played.samples} samples, {played.messages} messages in "
                f"{time.monotonic() - started_s:.1f} s"
            )
        return played.first_ns

    def _publish(self, topic: str, data: bytes) -> None:
        publish(self, self._topics[topic], data)

    def _tick(self, bag_ns: int) -> None:
        publish(self, self._clock_topic, Clock(clock=to_time(bag_ns)))

    def _finish(self) -> None:
        """Call the service that waits for the end; raises DataError with its message if it failed."""
        p = self.settings
        acked_by_s = time.monotonic() + ACK_TIMEOUT_S
        for publisher in self._topics.values():
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, acked_by_s - time.monotonic())))
        if self._finished is None:
            return
        response = call_service(self._finished, Trigger.Request(), p.finished_timeout_s, self._stop.is_set)
        if self._stop.is_set():
            return
        if response is None:
            raise DataError(
                f"{p.finished_service} did not respond within {p.finished_timeout_s:.0f} s; see its node's log"
            )
        if not response.success:
            raise DataError(f"{p.finished_service}: {response.message}")
        self.get_logger().info(response.message)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(Replay, arguments))


if __name__ == "__main__":
    main()
