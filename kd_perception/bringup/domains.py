"""ROS domains for graphs of this machine that must not hear each other: each is held by a lock on a file."""

import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kd_perception.errors import KdError

DOMAINS = 100  # 1 to 100: higher ones use ports that the system gives away
_numbers = itertools.count(os.getpid())


class NoDomainError(KdError):
    """Every domain is held."""


@contextmanager
def held_domain() -> Iterator[int]:
    """A ROS_DOMAIN_ID that no other process takes for as long as the context lasts."""
    domain, lock = take_domain()
    with lock:
        yield domain


def take_domain() -> tuple[int, IO[str]]:
    """A ROS_DOMAIN_ID, and the open file whose lock keeps it; raises NoDomainError when all are taken."""
    for number in itertools.islice(_numbers, 10 * DOMAINS):
        domain = 1 + number % DOMAINS
        try:
            lock = open(Path(tempfile.gettempdir()) / f"kd_domain_{domain}", "w")  # noqa: SIM115 - stays open
        except OSError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
        else:
            return domain, lock
    raise NoDomainError(f"all {DOMAINS} ROS domains are in use on this machine; end other demos and test runs")
