"""Three threads for a frame's three stages, so that decoding, inference and publishing of successive frames overlap.

One item waits at the entrance and a newer one takes its place: work is never on the past, and nothing queues. Past the
entrance the order is kept and nothing is lost. Preparation starts as late as the engine allows: a frame decoded long
before the engine is free would only grow old.
"""

import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")

RECENT = 8  # durations from which the next ones are predicted
_END = object()


class OverlappedStages(Generic[Item]):
    """prepare -> infer -> finish, each in a thread of its own, `finish` in the order in which items were begun.

    Every stage gets the item itself and fills in its part. `finish` also gets what `prepare` or `infer` raised, else
    None, and must not raise.
    """

    def __init__(
        self,
        prepare: Callable[[Item], object],
        infer: Callable[[Item], object],
        finish: Callable[[Item, Exception | None], None],
    ) -> None:
        self._prepare, self._infer, self._finish = prepare, infer, finish
        self._waiting: Item | None = None
        self._handed_over = False  # a prepared item waits for the engine
        self._engine_since_s: float | None = None
        self._prepare_s: deque[float] = deque(maxlen=RECENT)
        self._infer_s: deque[float] = deque(maxlen=RECENT)
        self._at_work = 0  # items that were submitted, and neither replaced nor finished
        self._stopping = False
        self._changed = threading.Condition()
        self._to_infer: queue.Queue = queue.Queue(1)
        self._to_finish: queue.Queue = queue.Queue(1)
        self._threads = [
            threading.Thread(target=run, name=run.__name__.strip("_"), daemon=True)
            for run in (self._run_prepare, self._run_infer, self._run_finish)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        """Whether no item waits or is worked on."""
        with self._changed:
            return self._at_work == 0

    def submit(self, item: Item) -> Item | None:
        """Offer an item; returns the one that it replaced, which will not be worked on."""
        with self._changed:
            replaced, self._waiting = self._waiting, item
            self._at_work += replaced is None
            self._changed.notify_all()
            return replaced

    def stop(self) -> Item | None:
        """Finish what has begun, end the threads and return the item that still waited."""
        with self._changed:
            self._stopping = True
            waiting, self._waiting = self._waiting, None
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        return waiting

    def _delay_s(self) -> float:
        """How long preparation should still wait: without end while a prepared item waits, 0 if the engine is idle."""
        if self._handed_over:
            return math.inf
        if self._engine_since_s is None or not self._prepare_s or not self._infer_s:
            return 0.0
        # The shortest recent inference and the longest recent preparation: better early than an engine that waits.
        return self._engine_since_s + min(self._infer_s) - max(self._prepare_s) - time.monotonic()

    def _take(self) -> Item | None:
        """Wait for the newest item and for the moment to begin it; None when stopping."""
        with self._changed:
            while not self._stopping:
                delay_s = self._delay_s() if self._waiting is not None else math.inf
                if delay_s <= 0.0:
                    item, self._waiting = self._waiting, None
                    return item
                self._changed.wait(None if math.isinf(delay_s) else delay_s)
        return None

    def _run_prepare(self) -> None:
        while (item := self._take()) is not None:
            started_s, failure = time.monotonic(), None
            try:
                self._prepare(item)
            except Exception as error:
                failure = error
            with self._changed:
                self._prepare_s.append(time.monotonic() - started_s)
                self._handed_over = True
            self._to_infer.put((item, failure))
        self._to_infer.put(_END)

    def _run_infer(self) -> None:
        while (entry := self._to_infer.get()) is not _END:
            item, failure = entry
            started_s = time.monotonic()
            self._engine_state(started_s)
            if failure is None:
                try:
                    self._infer(item)
                    self._infer_s.append(time.monotonic() - started_s)
                except Exception as error:
                    failure = error
            self._engine_state(None)
            self._to_finish.put((item, failure))
        self._to_finish.put(_END)

    def _engine_state(self, since_s: float | None) -> None:
        with self._changed:
            self._engine_since_s = since_s
            if since_s is not None:
                self._handed_over = False
            self._changed.notify_all()

    def _run_finish(self) -> None:
        while (entry := self._to_finish.get()) is not _END:
            self._finish(*entry)
            with self._changed:
                self._at_work -= 1
