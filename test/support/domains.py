"""ROS domains for tests: one each, so that no node hears another test's, whatever process that runs in."""

from collections import deque
from typing import IO

from kd_perception.bringup.domains import take_domain

KEPT = 10  # a test needs fewer, and those of tests that have ended rest for a while: their last messages are under way

_recent: deque[IO[str]] = deque()


def free_domain() -> int:
    """A ROS_DOMAIN_ID for one test, which no other has, of this run or another on this machine."""
    domain, lock = take_domain()
    _recent.append(lock)
    if len(_recent) > KEPT:
        _recent.popleft().close()
    return domain
