"""Signals that end a command: which they are, that they wait where they must, and that they are heard once."""

import os
import signal
from collections.abc import Iterator

import pytest

from kd_perception.interrupts import STOP_SIGNALS, handled_interrupts, ignore_all, raise_on_all


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of before come back."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_each_is_heard_once_waits_in_a_held_block_and_leaves_the_handlers_as_they_were(number):
    before = signal.getsignal(number)
    finished = []
    with handled_interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            with interrupts.held():
                send(number)
                finished.append(True)
        for other in STOP_SIGNALS:
            send(other)
    assert finished and interrupts.noted == 4
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_command_hears_all_of_them_and_none_at_its_end(number):
    raise_on_all()
    with pytest.raises(KeyboardInterrupt):
        send(number)
    ignore_all()
    send(number)


def test_what_nohup_lets_a_program_ignore_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_on_all()
    send(signal.SIGHUP)
    with handled_interrupts() as interrupts:
        send(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
    assert interrupts.noted == 0
