"""Ctrl-C that waits where it must: Python raises KeyboardInterrupt between any two instructions.

A process or pool that is only half started at that moment cannot be ended.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupts:
    """Ctrl-C raises KeyboardInterrupt once. Later ones are only counted: they would interrupt the clean-up."""

    def __init__(self) -> None:
        self.only_noted = False
        self.noted = 0

    def __call__(self, *_: object) -> None:
        """The handler of SIGINT."""
        if self.only_noted:
            self.noted += 1
            return
        self.only_noted = True
        raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Ctrl-C inside the block takes effect at its end."""
        self.only_noted, before = True, self.noted
        yield
        self.only_noted = self.noted > before
        if self.only_noted:
            raise KeyboardInterrupt


@contextmanager
def handled_interrupts() -> Iterator[Interrupts]:
    """Handle SIGINT inside the block; Python delivers it to the main thread only."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    previous = signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous)
