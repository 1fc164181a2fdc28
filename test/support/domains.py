"""ROS domains for tests: one each, so that no node hears another test's, whatever process that runs in."""

import fcntl
import itertools
import os
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

DOMAINS = 100  # 1 to 100: higher ones use ports that the system gives away
KEPT = (
    10  # a test needs fewer, and those of tests that have ended rest for a while: their last messages may be under way
)

_numbers = itertools.count(os.getpid())
_recent: deque[IO[str]] = deque()


def free_domain() -> int:
    """A ROS_DOMAIN_ID for one test, which no other has, of this run or another on this machine."""
    domain, lock = _take()
    _recent.append(lock)
    if len(_recent) > KEPT:
        _recent.popleft().close()
    return domain


@contextmanager
def held_domain() -> Iterator[int]:
    """The same for as long as the context lasts: for graphs that several tests share."""
    domain, lock = _take()
    with lock:
        yield domain


def _take() -> tuple[int, IO[str]]:
    """A domain and the open file whose lock keeps it."""
    for number in itertools.islice(_numbers, 10 * DOMAINS):
        domain = 1 + number % DOMAINS
        lock = open(Path(tempfile.gettempdir()) / f"kd_test_domain_{domain}", "w")  # noqa: SIM115 - stays open
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return domain, lock
    raise RuntimeError(f"all {DOMAINS} ROS domains are in use by tests on this machine; end other runs")
