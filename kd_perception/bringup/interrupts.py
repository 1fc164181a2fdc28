"""Ctrl-C where it can be borne: Python raises KeyboardInterrupt between any two instructions, also where a process or a
pool is only half started and cannot be ended.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupts:
    """Ctrl-C raises KeyboardInterrupt once. Later ones, which would break the cleaning up, are only noted."""

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
        """Inside the block Ctrl-C waits for the block's end."""
        self.only_noted, before = True, self.noted
        yield
        self.only_noted = self.noted > before
        if self.only_noted:
            raise KeyboardInterrupt


@contextmanager
def handled_interrupts() -> Iterator[Interrupts]:
    """Handles SIGINT inside the block (in other threads than the main one it never comes)."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    previous = signal.signal(signal.SIGINT, interrupts)
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, previous)
