"""Clouds as they came, kept for the window of a teacher: only what a frame takes is ever read. ROS-free."""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kd_perception.teacher.spec import PointsSpec

JUMP_NS = 1_000_000_000  # a stamp further back is of another time; nearer ones are late
YOUNGER_NS = 50_000_000  # clouds of other LiDARs that are so much younger than the frame belong to it


@dataclass(eq=False)
class KeptCloud:
    """A serialised cloud. `read`: what was made of it by the thread that prepares frames."""

    lidar: int
    stamp_ns: int
    frame_id: str
    cdr: bytes
    arrival_s: float
    read: Any = field(default=None, repr=False)


class KeptClouds:
    """The newest clouds of each LiDAR. Thread-safe."""

    def __init__(self, topics: Sequence[str], spec: PointsSpec) -> None:
        self.topics, self._spec, self._lock = tuple(topics), spec, threading.Lock()
        self._clouds: list[deque[KeptCloud]] = [deque() for _ in topics]

    def add(self, cloud: KeptCloud) -> tuple[str, str]:
        """Keep a cloud; returns two sentences, empty as a rule: why it is not kept, and why all before it was
        forgotten."""
        where = f"clouds on {self.topics[cloud.lidar]}"
        if cloud.stamp_ns <= 0:
            return f"{where} have no stamp (0 s); let the driver stamp them", ""
        with self._lock:
            own = self._clouds[cloud.lidar]
            behind_ns, reset = (own[-1].stamp_ns - cloud.stamp_ns if own else -1), ""
            if behind_ns > JUMP_NS:
                self._forget()
                reset = f"time jumped back by {behind_ns / 1e9:.3f} s in {where}"
            elif behind_ns >= 0:
                return f"{where} come late: a stamp is {behind_ns / 1e9:.3f} s before the newest", ""
            own.append(cloud)
            oldest_ns = cloud.stamp_ns - int(self._spec.oldest_s * 1e9)
            while own[0].stamp_ns <= oldest_ns:
                own.popleft()
        return "", reset

    def window(self, anchor: KeptCloud) -> list[list[KeptCloud]]:
        """The clouds that belong to a frame: of each LiDAR those of the teacher's window, newest first."""
        oldest_ns = anchor.stamp_ns - int(self._spec.oldest_s * 1e9)
        windows = []
        with self._lock:
            for lidar, own in enumerate(self._clouds):
                newest_ns = anchor.stamp_ns + (YOUNGER_NS if lidar != anchor.lidar else 0)
                inside = [cloud for cloud in reversed(own) if oldest_ns < cloud.stamp_ns <= newest_ns]
                windows.append(inside[: self._spec.sweeps])
        return windows

    def forget(self) -> None:
        """Forget all clouds: the robot's motion since is not known."""
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        for own in self._clouds:
            own.clear()


class Pace:
    """At most so many frames per second; 0 is no limit."""

    def __init__(self, rate_hz: float) -> None:
        self._next_s = 0.0
        self.rate_hz = rate_hz

    def due(self, now_s: float) -> bool:
        """Whether a frame may begin at this steady time; it is then taken to begin."""
        if not self.rate_hz:
            return True
        if now_s < self._next_s:
            return False
        period_s = 1.0 / self.rate_hz
        late = now_s - self._next_s > period_s  # else a frame that begins late does not delay all after it
        self._next_s = (now_s if late else self._next_s) + period_s
        return True
