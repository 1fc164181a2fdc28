"""Interrupt a training run of this process at a step."""

import os
import signal

import pytest

from kd_training.loop import forward_backward


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Send this process the signal of Ctrl-C at a step."""
    check = forward_backward.check_finite

    def check_and_interrupt(losses: object, now: int) -> None:
        check(losses, now)
        if now == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(forward_backward, "check_finite", check_and_interrupt)
