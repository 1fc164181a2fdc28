"""Memory and processor time of other processes, from the kernel's /proc."""

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """A look at a process: seconds since the watch began, resident memory (MB), processor time so far (s), threads."""

    elapsed_s: float
    memory_mb: float
    cpu_s: float
    threads: int


def usage(pid: int, elapsed_s: float = 0.0) -> Usage:
    """How much a process uses now; raises OSError if it has ended."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return Usage(
        elapsed_s,
        int(status.get("VmRSS", "0 kB").split()[0]) / 1024.0,
        (int(fields[11]) + int(fields[12])) / TICKS,
        int(status["Threads"]),
    )


class ProcessWatch:
    """Looks at processes regularly, in a thread, inside a with block."""

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
                except OSError:
                    pass  # it has ended; what it used until then is known
