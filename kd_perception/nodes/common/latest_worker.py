"""One thread and one waiting item: the newest wins, so callbacks never block and work is never on the past."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from kd_perception.engines.protocol import ignore

Item = TypeVar("Item")


class LatestWorker(Generic[Item]):
    """Runs `work` on submitted items in its own thread; a new item replaces one that still waits."""

    def __init__(self, work: Callable[[Item], None]) -> None:
        """`work` must handle its own exceptions: one that escapes ends the thread."""
        self._work = work
        self._waiting: Item | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="latest-worker", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Queue an item; one that still waits is dropped."""
        with self._changed:
            self._waiting = item
            self._changed.notify()

    def stop(self) -> None:
        """Finish the item at work, drop the one that waits and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()
        self._work = ignore  # often its owner's: without it both are freed at once, not some day

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting is None and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                item, self._waiting = self._waiting, None
            self._work(item)
