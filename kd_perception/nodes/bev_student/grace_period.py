"""A bounded wait for what arrives a little later than the frame that needs it: calibration, tf, odometry."""

import threading
import time
from collections.abc import Callable

POLL_S = 0.002


class GracePeriod:
    """Waits for late data; what did not come within one grace period gets none again until it has come."""

    def __init__(self, duration_s: float, ended: threading.Event) -> None:
        """`ended`: once it is set, nothing is waited for."""
        self._duration_s = duration_s
        self._ended = ended
        self._given_up: set[str] = set()

    def wait(self, missing: Callable[[], set[str]], since_s: float) -> None:
        """Until nothing is missing that has not been given up, at most until `duration_s` after steady time `since_s`.

        `missing` names what is still missing each time it is called.
        """
        while True:
            still = missing()
            self._given_up &= still
            if still <= self._given_up or self._ended.is_set():
                return
            if time.monotonic() - since_s > self._duration_s:
                self._given_up |= still
                return
            self._ended.wait(POLL_S)
