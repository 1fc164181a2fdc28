"""Signals that end a command: Ctrl-C, and SIGTERM and SIGHUP (systemd, docker, a closed terminal), which do the same.

Python raises KeyboardInterrupt between any two instructions. A process or pool that is only half started at that
moment cannot be ended, so that the signal must wait there.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop_signals() -> tuple[signal.Signals, ...]:
    """Those of STOP_SIGNALS that end this process: nohup lets its program ignore SIGHUP, and that stays so."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return STOP_SIGNALS if hangs_up else STOP_SIGNALS[:-1]


def raise_on_all() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does from a program's start."""
    for number in stop_signals():
        if number != signal.SIGINT:
            signal.signal(number, signal.default_int_handler)


def ignore_all() -> None:
    """From now on no signal disturbs the end of this process."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def forget_unhandled() -> None:
    """Let the process end with its own exit status after a KeyboardInterrupt.

    CPython notes one that leaves source text which is being run (dataclasses and message types are made of such), and
    `python -m` then ends by SIGINT, although it was caught further up. Running any other text clears the note.
    """
    exec("")  # noqa: S102 - nothing is run


class Interrupts:
    """A signal raises KeyboardInterrupt once. Later ones are only counted: they would interrupt the clean-up."""

    def __init__(self) -> None:
        self.only_noted = False
        self.noted = 0

    def __call__(self, *_: object) -> None:
        """The handler of the signals."""
        if self.only_noted:
            self.noted += 1
            return
        self.only_noted = True
        raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """A signal inside the block takes effect at its end."""
        self.only_noted, before = True, self.noted
        yield
        self.only_noted = self.noted > before
        if self.only_noted:
            raise KeyboardInterrupt


@contextmanager
def handled_interrupts() -> Iterator[Interrupts]:
    """Handle the signals inside the block; Python delivers them to the main thread only."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    previous = {number: signal.signal(number, interrupts) for number in stop_signals()}
    try:
        yield interrupts
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
