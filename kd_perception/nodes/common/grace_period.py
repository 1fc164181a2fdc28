"""A bounded wait for what arrives a little later than the frame that needs it: calibration, tf, odometry."""

import threading
import time
from collections.abc import Callable

POLL_S = 0.002


class GracePeriod:
    """Waits for late data. An input that did not come within one grace period is given up until it goes on.

    It goes on when it reaches the frame that last had to do without it. One late message then costs a frame or two, and
    an input that has ended costs one grace period, not one a frame.
    """

    def __init__(self, duration_s: float, ended: threading.Event) -> None:
        """`ended`: once it is set, nothing is waited for."""
        self._duration_s = duration_s
        self._ended = ended
        self._given_up: dict[str, int] = {}  # name of an input -> stamp of the last frame that lacked it

    def wait(self, missing: Callable[[int], set[str]], at_ns: int, since_s: float) -> None:
        """Until nothing is missing at `at_ns` that has not been given up.

        Ends at the latest `duration_s` after steady time `since_s`. `missing` names what is missing at a time each time
        it is called; its last call is for `at_ns`.
        """
        for stamp_ns in set(self._given_up.values()) - {at_ns}:
            lacking = missing(stamp_ns)
            self._given_up = {n: at for n, at in self._given_up.items() if at != stamp_ns or n in lacking}
        while True:
            still = missing(at_ns)
            self._given_up = {name: at_ns for name in self._given_up if name in still}
            if still <= self._given_up.keys() or self._ended.is_set():
                return
            if time.monotonic() - since_s > self._duration_s:
                self._given_up = dict.fromkeys(still, at_ns)
                return
            self._ended.wait(POLL_S)
