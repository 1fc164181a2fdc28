"""Plays a rosbag2 into the graph: serialised messages untouched, /clock, latched topics; in real time or in lockstep.

Lockstep plays as fast as the graph processes frames: after every Sample it waits for the FrameStatus with its stamp.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence

from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from kd_msgs.msg import FrameStatus, Sample
from kd_perception.bags.reader import BagReader, Topic
from kd_perception.errors import DataError, KdError
from kd_perception.nodes.common.node import POLL_S, ProcessNode, call_service, run, wait_for_subscribers
from kd_perception.nodes.common.parameters import declare_parameters, read_parameters
from kd_perception.options.replay import ReplayOptions
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.message_types import message_class
from kd_perception.ros.publishing import publish
from kd_perception.ros.qos import EVERY_RESULT
from kd_perception.ros.stamps import to_nanoseconds, to_time

SAMPLE_TYPE = "kd_msgs/msg/Sample"
CLOCK_TOPIC = "/clock"
QUEUE_DEPTH = 100
LATCHED_DEPTH = 1000
LOOP_LEAD_NS = 1_000_000_000  # by how much /clock goes back further than the beginning when a bag starts again
ACK_TIMEOUT_S = 2.0  # at the end, for the last messages to arrive: listeners may be gone or stuck


class Replay(ProcessNode):
    """Lifecycle: configure opens the bag, activate plays it in a thread; the process ends with the bag."""

    def __init__(
        self, options: ReplayOptions | None = None, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """`options`: its parameters' defaults; the playing thread calls `on_progress(played, total)` in messages."""
        super().__init__("replay")
        declare_parameters(self, options or ReplayOptions())
        self._on_progress = on_progress
        self._bag: BagReader | None = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._processed: set[int] = set()  # stamps (ns) of frames whose FrameStatus has come
        self._status_came = threading.Condition()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Open the bag and create its topics; fails with a logged sentence, also if none of it can be played."""
        self._logged_problems = 0
        try:
            self._settings = read_parameters(self, ReplayOptions)
            self._bag = BagReader(self._settings.bag)
            self._log_problems()
            self._topics = self._open_topics(self._bag)
        except KdError as error:
            self.get_logger().error(str(error))
            self._close_bag()
            return TransitionCallbackReturn.FAILURE
        self._samples = {topic.name for topic in self._bag.topics if topic.type_name == SAMPLE_TYPE}
        self._clock_topic = self.create_publisher(Clock, CLOCK_TOPIC, QoSProfile(depth=10))
        self._status = self.create_subscription(FrameStatus, "~/input/status", self._receive_status, EVERY_RESULT)
        self._finished = (
            self.create_client(Trigger, self._settings.finished_service) if self._settings.finished_service else None
        )
        self._detector = self.create_client(GetState, f"{self._settings.detector}/get_state")  # last: see its use
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start playing."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._play, name="replay", daemon=True)
        self._thread.start()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop playing; activation starts from the beginning."""
        self._halt()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Close the bag and its topics."""
        for publisher in (*self._topics.values(), self._clock_topic):
            self.destroy_publisher(publisher)
        self.destroy_subscription(self._status)
        self.destroy_client(self._detector)
        if self._finished is not None:
            self.destroy_client(self._finished)
        self._close_bag()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop, from whatever state."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop playing and close the bag."""
        self._halt()
        self._close_bag()

    def _halt(self) -> None:
        self._stop.set()
        with self._status_came:
            self._status_came.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _close_bag(self) -> None:
        if self._bag is not None:
            self._bag.close()
            self._bag = None

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
        return self.create_publisher(kind, topic.name, qos)

    def _receive_status(self, message: FrameStatus) -> None:
        with self._status_came:
            self._processed.add(to_nanoseconds(message.header.stamp))
            self._status_came.notify_all()

    # The playing thread

    def _play(self) -> None:
        """Play to the end and end the process: 0, or 1 with a sentence in the log."""
        p = self._settings
        try:
            problem = wait_for_subscribers(
                p.wait_for_subscribers, self._topics, p.subscriber_timeout_s, self._stop.is_set
            )
            if problem:
                raise DataError(problem)
            if p.lockstep:
                self._wait_for_detector()
            first_ns = self._play_once()
            while p.loop and not self._stop.is_set():
                self._go_back(first_ns)
                self._play_once()
            if not self._stop.is_set():
                self._finish()
                self.exit_code = 0
        except KdError as error:
            if not self._stop.is_set():
                self.get_logger().error(str(error))
                self.exit_code = 1
        except Exception:  # a thread's end is noticed by nobody: the process would wait for good
            self.get_logger().error(traceback.format_exc())
            self.exit_code = 1

    def _wait_for_detector(self) -> None:
        """Block until the detector is active and knows all our topics; raises DataError after the timeout.

        Its response to our client proves the latter: discovery is in order, and the client was created last.
        """
        p = self._settings
        deadline_s = time.monotonic() + p.subscriber_timeout_s
        label = "absent"
        while not self._stop.is_set():
            response = call_service(self._detector, GetState.Request(), 1.0, self._stop.is_set)
            if response is not None and response.current_state.id == State.PRIMARY_STATE_ACTIVE:
                return
            label = label if response is None else response.current_state.label
            if time.monotonic() > deadline_s:
                raise DataError(
                    f"the detector {p.detector}, which lockstep waits for, is {label}; start and activate it"
                )
            self._stop.wait(POLL_S)

    def _play_once(self) -> int:
        """Play from the beginning to the end, or until playing is stopped; returns the first recording time (ns)."""
        p = self._settings
        total = sum(topic.count for topic in self._bag.topics if topic.name in self._topics)
        first_ns, started_s, clock_ns = 0, time.monotonic(), -(10**18)
        samples = played = 0
        self._processed.clear()
        for count, (topic, stamp_ns, data) in enumerate(self._bag.messages()):
            first_ns = first_ns if count else stamp_ns
            if not p.lockstep:
                clock_ns = self._sleep_until(started_s, first_ns, stamp_ns, clock_ns)
            elif stamp_ns - clock_ns >= 1e9 / p.clock_rate_hz or topic in self._samples:
                clock_ns = self._tick(stamp_ns)
            if self._stop.is_set():
                return first_ns
            if topic in self._topics:
                publish(self, self._topics[topic], data)
                played += 1
            if topic in self._samples:
                samples += 1
                if p.lockstep:
                    self._wait_for_status(deserialise(data, Sample))
            if self._on_progress is not None:
                self._on_progress(played, total)
        self._log_problems()
        if not played:
            raise DataError(f"nothing of bag {self._bag.path} was played: {'; '.join(self._bag.problems)}")
        elapsed_s = time.monotonic() - started_s
        self.get_logger().info(
            f"played {self._bag.path.name}: {samples} samples, {played} messages in {elapsed_s:.1f} s"
        )
        return first_ns

    def _go_back(self, first_ns: int) -> None:
        """Pause before the bag plays again; /clock goes back in the middle of the pause.

        By then the last messages are processed, and the first have not come: listeners cannot order what arrives on
        several topics at once. It goes back before the beginning, so that all of the round is of a later time: of a
        short bag the detector would take the first images for those that it has.
        """
        half_s = self._settings.loop_gap_s / self._settings.rate / 2.0
        self._stop.wait(half_s)
        self._tick(max(0, first_ns - LOOP_LEAD_NS))
        self._stop.wait(half_s)

    def _sleep_until(self, started_s: float, first_ns: int, stamp_ns: int, clock_ns: int) -> int:
        """Wait until a message is due, publishing /clock meanwhile; returns the last /clock."""
        p = self._settings
        period_ns = int(1e9 / p.clock_rate_hz)
        while not self._stop.is_set():
            now_ns = first_ns + int((time.monotonic() - started_s) * 1e9 * p.rate)
            due = now_ns >= stamp_ns
            bag_ns = min(now_ns, stamp_ns)
            if bag_ns - clock_ns >= period_ns or due and bag_ns > clock_ns and clock_ns < 0:
                clock_ns = self._tick(bag_ns)
            if due:
                return clock_ns
            self._stop.wait(min(stamp_ns - now_ns, period_ns) / 1e9 / p.rate)
        return clock_ns

    def _tick(self, bag_ns: int) -> int:
        publish(self, self._clock_topic, Clock(clock=to_time(bag_ns)))
        return bag_ns

    def _wait_for_status(self, sample: Sample) -> None:
        """Block until the sample's frame has its FrameStatus; raises DataError naming the sample when none comes."""
        stamp_ns = to_nanoseconds(sample.header.stamp)
        timeout_s = self._settings.answer_timeout_s
        with self._status_came:
            if not self._status_came.wait_for(lambda: stamp_ns in self._processed or self._stop.is_set(), timeout_s):
                raise DataError(
                    f"sample {sample.sample_token} of {sample.scene} (stamp {_seconds(sample.header.stamp)} s) "
                    f"got no FrameStatus within {timeout_s:.0f} s; check that the detector runs, is active and has "
                    "this anchor camera"
                )

    def _finish(self) -> None:
        """Call the service that waits for the end; raises DataError with its message if it failed."""
        p = self._settings
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


def _seconds(stamp: Time) -> str:
    return f"{stamp.sec}.{stamp.nanosec:09d}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node as a process."""
    sys.exit(run(Replay, arguments))


if __name__ == "__main__":
    main()
