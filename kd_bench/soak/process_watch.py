"""Memory and processor time of other processes."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Usage:
    """A process at one moment: s since the watch began, resident memory (MiB), processor time so far (s), threads."""

    elapsed_s: float
    memory_mb: float
    cpu_s: float
    threads: int


def usage(pid: int, elapsed_s: float = 0.0) -> Usage:
    """How much a process uses now; raises psutil.Error if it has ended."""
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return Usage(elapsed_s, process.memory_info().rss / 2**20, times.user + times.system, process.num_threads())


class ProcessWatch:
    """Samples processes regularly, in a thread, inside a with block."""

    def __init__(self, pids: Mapping[str, int], period_s: float = 1.0) -> None:
        self.history: dict[str, list[Usage]] = {name: [] for name in pids}
        self._pids = dict(pids)
        self._period_s = period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-watch", daemon=True)

    def __enter__(self) -> "ProcessWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started_s = time.monotonic()
        while not self._stop.wait(self._period_s):
            for name, pid in self._pids.items():
                try:
                    self.history[name].append(usage(pid, time.monotonic() - started_s))
                except psutil.Error:
                    pass  # the process has ended; its samples until then stay
