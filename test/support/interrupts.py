"""Interrupt a training run of this process at a step."""

import os
import signal

import pytest

from kd_training.loop import gradients


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Send this process the signal of Ctrl-C at a step."""
    check = gradients.check_finite

    def check_and_interrupt(losses: object, now: int) -> None:
        check(losses, now)
        if now == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(gradients, "check_finite", check_and_interrupt)
