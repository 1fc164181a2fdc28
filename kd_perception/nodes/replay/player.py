"""Plays a bag round by round, in real time or in lockstep: when each message and each tick of /clock is due."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from kd_msgs.msg import Sample
from kd_perception.bags.reader import BagReader
from kd_perception.errors import DataError
from kd_perception.options.replay import ReplayOptions
from kd_perception.ros.deserialise import deserialise
from kd_perception.ros.stamps import to_nanoseconds

SAMPLE_TYPE = "kd_msgs/msg/Sample"
LOOP_LEAD_NS = 1_000_000_000  # by how much /clock goes back further than the beginning when a bag starts again


class AnsweredFrames:
    """Stamps (ns) of frames whose FrameStatus has come; one thread adds, another waits."""

    def __init__(self) -> None:
        self._stamps: set[int] = set()
        self._changed = threading.Condition()

    def add(self, stamp_ns: int) -> None:
        """A FrameStatus has come."""
        with self._changed:
            self._stamps.add(stamp_ns)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all: the bag starts again."""
        with self._changed:
            self._stamps.clear()

    def wake(self) -> None:
        """Let who waits look whether to give up."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, stamp_ns: int, timeout_s: float, give_up: Callable[[], bool]) -> bool:
        """Until the frame is answered or `give_up()`; False after the timeout."""
        with self._changed:
            return self._changed.wait_for(lambda: stamp_ns in self._stamps or give_up(), timeout_s)


@dataclass(frozen=True)
class Stage:
    """Where a bag plays. `publish`: by topic, serialised; `tick`: /clock in ns; `progress(played, total)`: messages."""

    topics: frozenset[str]
    publish: Callable[[str, bytes], None]
    tick: Callable[[int], None]
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Round:
    """What was played from the beginning to the end; `first_ns`: the first recording time."""

    first_ns: int
    samples: int
    messages: int


class Player:
    """Plays one bag. Belongs to one thread; `stop` may be set, and then `answered` woken, by any."""

    def __init__(self, bag: BagReader, settings: ReplayOptions, stage: Stage, stop: threading.Event) -> None:
        self._bag, self._settings, self._stage, self._stop = bag, settings, stage, stop
        self._samples = {topic.name for topic in bag.topics if topic.type_name == SAMPLE_TYPE}
        self.answered = AnsweredFrames()

    def play(self) -> Round:
        """Play from the beginning to the end, or until playing is stopped.

        Raises DataError if nothing was played, and in lockstep if a sample gets no FrameStatus.
        """
        p, stage = self._settings, self._stage
        total = sum(topic.count for topic in self._bag.topics if topic.name in stage.topics)
        first_ns, started_s, clock_ns = 0, time.monotonic(), -(10**18)
        samples = played = 0
        self.answered.clear()
        for count, (topic, stamp_ns, data) in enumerate(self._bag.messages()):
            first_ns = first_ns if count else stamp_ns
            if not p.lockstep:
                clock_ns = self._sleep_until(started_s, first_ns, stamp_ns, clock_ns)
            elif stamp_ns - clock_ns >= 1e9 / p.clock_rate_hz or topic in self._samples:
                clock_ns = self._tick(stamp_ns)
            if self._stop.is_set():
                return Round(first_ns, samples, played)
            if topic in stage.topics:
                stage.publish(topic, data)
                played += 1
            if topic in self._samples:
                samples += 1
                if p.lockstep:
                    self._wait_for_status(deserialise(data, Sample))
            if stage.progress is not None:
                stage.progress(played, total)
        if not played:
            raise DataError(f"nothing of bag {self._bag.path} was played: {'; '.join(self._bag.problems)}")
        return Round(first_ns, samples, played)

    def go_back(self, first_ns: int) -> None:
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
        self._stage.tick(bag_ns)
        return bag_ns

    def _wait_for_status(self, sample: Sample) -> None:
        """Block until the sample's frame has its FrameStatus; raises DataError naming the sample when none comes."""
        stamp, timeout_s = sample.header.stamp, self._settings.answer_timeout_s
        if not self.answered.wait(to_nanoseconds(stamp), timeout_s, self._stop.is_set):
            raise DataError(
                f"sample {sample.sample_token} of {sample.scene} (stamp {stamp.sec}.{stamp.nanosec:09d} s) got no "
                f"FrameStatus within {timeout_s:.0f} s; check that the detector runs, is active and has this anchor "
                "camera"
            )
