"""One node as a child process: passes its log on line by line, and keeps its last error to report a failure."""

import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

LAST_LINES = 20
_LOG_LINE = re.compile(r"^\[(?P<level>\w+)\] \[[\d.]+\] \[[^\]]+\]: (?P<text>.*)$")


class NodeProcess:
    """One node as a child process in a session of its own, so that a terminal's signals reach it only through us."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: dict[str, str],
        log: Path | None,
        echo: Callable[[str], None],
    ) -> None:
        self.name = name
        self.errors: deque[str] = deque(maxlen=LAST_LINES)
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._echo = echo
        self._stopping = False
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        self._log = open(log, "w", encoding="utf-8") if log is not None else None  # noqa: SIM115 - closed by `finish`
        self._reader = threading.Thread(target=self._read, name=f"log-{name}", daemon=True)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """The exit status; None while the process runs."""
        return self.process.poll()

    def last_words(self) -> str:
        """The last error that the node logged, or else the last line that it printed."""
        self._reader.join(timeout=1.0 if self.exit_code is not None else 0.0)
        return next(iter([*reversed(self.errors), *reversed(self._lines)]), "it printed nothing")

    def signal(self, number: int) -> None:
        """Send a signal if the process still runs."""
        self._stopping = True
        if self.exit_code is None:
            self.process.send_signal(number)

    def finish(self) -> None:
        """Wait for the end of the process and close its log."""
        self.process.wait()
        self._reader.join(timeout=2.0)
        if self._log is not None:
            self._log.close()

    def _read(self) -> None:
        for line in self.process.stdout:
            line = line.rstrip("\n")
            match = _LOG_LINE.match(line)
            if match and match["level"] in ("ERROR", "FATAL"):
                self.errors.append(match["text"])
            self._lines.append(line)
            if self._log is not None:
                self._log.write(line + "\n")
                self._log.flush()
            if not self._stopping:
                with suppress(OSError):  # of a closed terminal: the node must still get rid of its lines
                    self._echo(f"[{self.name}] {match['text'] if match else line}")
