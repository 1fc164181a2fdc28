"""Ctrl-C at the worst moments of a pool of workers: the pool ends once and completely; the workers ignore it."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable

import pytest
from support.tiny_scenes import TinyScenes, render

from kd_synthetic.dataset.runner import run_scenes


def before(monkeypatch: pytest.MonkeyPatch, method: str, happens: Callable[[], None]) -> list[str]:
    """Let something happen before every call of a method of threads; returns a list that grows with the calls."""
    inner, calls = getattr(threading.Thread, method), []

    def patched(thread: threading.Thread, *arguments: object) -> object:
        calls.append(thread.name)
        happens()
        return inner(thread, *arguments)

    monkeypatch.setattr(threading.Thread, method, patched)
    return calls


def interrupt_this_process() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_workers() -> None:
    for process in multiprocessing.active_children():
        os.kill(process.pid, signal.SIGINT)


def test_workers_do_not_hear_it_from_their_birth_on(tmp_path, monkeypatch):
    calls = before(monkeypatch, "start", interrupt_workers)
    files = run_scenes(TinyScenes(tmp_path), render)
    assert calls and [path.name for path in files] == ["0.json", "1.json", "2.json"]
    assert all(path.is_file() for path in files)


@pytest.mark.parametrize("methods", [("start",), ("start", "join")])
def test_it_ends_a_pool_that_is_just_starting_and_is_not_heard_again(tmp_path, monkeypatch, methods):
    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patches:
        calls = [before(patches, method, interrupt_this_process) for method in methods]
        with pytest.raises(KeyboardInterrupt):
            run_scenes(TinyScenes(tmp_path), render)
    assert all(calls)
    assert not multiprocessing.active_children()
    assert signal.getsignal(signal.SIGINT) is handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    assert len(run_scenes(TinyScenes(tmp_path), render)) == 3


def test_it_is_heard_soon_while_scenes_are_rendered(tmp_path):
    def interrupt(done: int, total: int) -> None:
        if done == 1:
            interrupt_this_process()

    with pytest.raises(KeyboardInterrupt):
        run_scenes(TinyScenes(tmp_path, jobs=1), render, interrupt)
    assert len(run_scenes(TinyScenes(tmp_path), render)) == 3
