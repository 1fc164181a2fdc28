"""One thread and one place to wait: the newest item wins, so callbacks never block and work is never on the past."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class LatestWorker(Generic[Item]):
    """Runs `work` on submitted items in its own thread; an item that still waits when the next comes is replaced."""

    def __init__(self, work: Callable[[Item], None]) -> None:
        """`work` must handle its own exceptions: one that escapes ends the thread."""
        self._work = work
        self._waiting: Item | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="latest-worker", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> Item | None:
        """Queue an item; returns the one it replaced, which will not be worked on."""
        with self._changed:
            replaced, self._waiting = self._waiting, item
            self._changed.notify()
            return replaced

    def stop(self) -> Item | None:
        """Finish the item at work, end the thread and return the item that still waited."""
        with self._changed:
            self._stopping = True
            waiting, self._waiting = self._waiting, None
            self._changed.notify()
        self._thread.join()
        return waiting

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting is None and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                item, self._waiting = self._waiting, None
            self._work(item)
