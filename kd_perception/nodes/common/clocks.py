"""Clocks that tell no time yet, or another time than the stamps: what must not be subtracted."""

from collections.abc import Callable
from contextlib import ExitStack

from rclpy.clock import JumpThreshold, ROSClock, TimeJump
from rclpy.duration import Duration

APART_NS = 60_000_000_000  # no frame is under way as long: the stamp and the clock are of different times
PATIENCE_S = 3.0  # until a clock that has not come is missed


def latency_ms(now_ns: int, stamp_ns: int) -> float | None:
    """Milliseconds from a stamp to now; None where they are of two clocks, as with a bag and the system's time."""
    return None if abs(now_ns - stamp_ns) > APART_NS else (now_ns - stamp_ns) / 1e6


def when_clock_goes_back(clock: ROSClock, call: Callable[[float], object], ending: ExitStack) -> None:
    """`call` hears by how many seconds the clock has gone back: a bag loops, or a simulation was reset. `ending` takes
    the call that ends it."""

    def jumped(jump: TimeJump) -> None:
        call(-jump.delta.nanoseconds / 1e9)

    backwards = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
    ending.callback(clock.create_jump_callback(backwards, post_callback=jumped).unregister)


class ClockWatch:
    """Finds that a node waits for /clock."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def missing(self, clock: ROSClock, steady_s: float) -> str:
        """'' or a sentence, given the node's clock and the steady time in seconds."""
        if not clock.ros_time_is_active or clock.now().nanoseconds > 0:
            self._since_s = None
            return ""
        self._since_s = steady_s if self._since_s is None else self._since_s
        waited_s = steady_s - self._since_s
        if waited_s < PATIENCE_S:
            return ""
        return (
            f"use_sim_time is true, but no /clock has come for {waited_s:.0f} s; start the simulation or the bag that "
            "publishes it, or set use_sim_time to false"
        )
