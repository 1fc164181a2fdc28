"""ROS domains for tests: one each, so that no node hears another test's."""

import fcntl
import itertools
import os
import tempfile
from pathlib import Path

_domains = itertools.count(os.getpid())
_locks = []  # held until this process ends


def free_domain() -> int:
    """A ROS_DOMAIN_ID that no other test has, of this run or another on this machine, in the range that leaves
    ephemeral ports alone."""
    while True:
        domain = 1 + next(_domains) % 100
        lock = open(Path(tempfile.gettempdir()) / f"kd_test_domain_{domain}", "w")  # noqa: SIM115 - held
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            if len(_locks) >= 90:
                _locks.pop(0).close()  # this run has had so many: its first are long idle
            continue
        _locks.append(lock)
        return domain
