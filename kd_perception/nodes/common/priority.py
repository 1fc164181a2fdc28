"""A process that leaves the processor to others: niceness of all its threads, where the system has it."""

import os
from contextlib import suppress
from pathlib import Path

THREADS = Path("/proc/self/task")  # Linux has a niceness for each thread; new ones inherit their creator's
SESSION = Path("/proc/self/autogroup")  # with autogroups (man 7 sched) Linux weighs sessions first, then threads


def lower_priority(niceness: int) -> None:
    """Give every thread of this process at least this niceness (nice(1)), and its session if the process leads one."""
    for thread in [int(path.name) for path in THREADS.glob("*")] or [0]:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if os.getpriority(os.PRIO_PROCESS, thread) < niceness:
                os.setpriority(os.PRIO_PROCESS, thread, niceness)
    if niceness > 0 and os.getsid(0) == os.getpid():
        with suppress(OSError):  # another system, no autogroups, or a limit on how often they change
            SESSION.write_text(str(niceness))
