"""The last seconds of serialised messages, bounded in time and bytes, to be found by stamp when a frame is kept."""

import threading
from collections import deque
from dataclasses import dataclass

from kd_perception.bags.frame_file import RecordedMessage

SLOWEST = 4  # seconds in which a replay without a clock shows one: messages are held that much longer after they came


@dataclass(frozen=True)
class HeldMessage:
    """A message and the stamp of its header."""

    stamp_ns: int
    message: RecordedMessage


class HeldMessages:
    """Messages by topic, in order of arrival. Thread-safe; adding takes microseconds.

    The last message of a topic always stays: a calibration may have been said once. Others go when they are too old by
    their stamps, or came too long ago: a driver may stamp all its messages alike.
    Where a topic's stamps go back, as when a bag loops, what it held is of a time that has ended and is forgotten.
    """

    def __init__(self, history_s: float, most_bytes: int) -> None:
        self._history_ns, self._most_bytes = int(history_s * 1e9), most_bytes
        self._by_topic: dict[str, deque[HeldMessage]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, stamp_ns: int, message: RecordedMessage) -> bool:
        """Hold a message; False if older ones had to go before their time, to stay within the bytes."""
        with self._lock:
            held = self._by_topic.setdefault(message.topic, deque())
            if held and stamp_ns < held[-1].stamp_ns - self._history_ns:
                while held:
                    self._forget_first(held)
            held.append(HeldMessage(stamp_ns, message))
            self._bytes += len(message.cdr)
            while (
                held[0].stamp_ns < stamp_ns - self._history_ns
                or held[0].message.received_ns < message.received_ns - SLOWEST * self._history_ns
            ):
                self._forget_first(held)
            enough = self._bytes <= self._most_bytes
            while self._bytes > self._most_bytes and self._forget_oldest():
                pass
            return enough

    def between(self, topic: str, first_ns: int, last_ns: int) -> list[HeldMessage]:
        """A topic's messages with stamps from `first_ns` to `last_ns`, both included."""
        with self._lock:
            held = tuple(self._by_topic.get(topic, ()))
        return [entry for entry in held if first_ns <= entry.stamp_ns <= last_ns]

    def nearest(self, topic: str, stamp_ns: int, tolerance_ns: int) -> HeldMessage | None:
        """A topic's message nearest to a time, if no further than the tolerance."""
        found = self.between(topic, stamp_ns - tolerance_ns, stamp_ns + tolerance_ns)
        return min(found, key=lambda entry: abs(entry.stamp_ns - stamp_ns), default=None)

    def last_before(self, topic: str, stamp_ns: int) -> HeldMessage | None:
        """A topic's newest message that is no later than a time, else its oldest."""
        found = sorted(self.between(topic, -(1 << 62), 1 << 62), key=lambda entry: entry.stamp_ns)
        return next((entry for entry in reversed(found) if entry.stamp_ns <= stamp_ns), found[0] if found else None)

    def newest(self, topic: str) -> HeldMessage | None:
        """A topic's last message."""
        with self._lock:
            held = self._by_topic.get(topic)
            return held[-1] if held else None

    def newest_ns(self, topic: str) -> int | None:
        """The stamp of a topic's last message."""
        last = self.newest(topic)
        return None if last is None else last.stamp_ns

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._by_topic.clear()
            self._bytes = 0

    def _forget_oldest(self) -> bool:
        """Forget the oldest message that has a newer one on its topic; False if there is none."""
        several = [held for held in self._by_topic.values() if len(held) > 1]
        if several:
            self._forget_first(min(several, key=lambda held: held[0].stamp_ns))
        return bool(several)

    def _forget_first(self, held: deque[HeldMessage]) -> None:
        self._bytes -= len(held.popleft().message.cdr)
