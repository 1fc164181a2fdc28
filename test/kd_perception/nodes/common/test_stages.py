"""Overlapped stages: they run side by side, keep the order, never queue, and hand errors on in order."""

import threading
import time

import pytest

from kd_perception.nodes.common import stages as stages_module
from kd_perception.nodes.common.stages import OverlappedStages

LONG = 10.0


class Gate:
    """A stage that waits until each item is let through, and says what it has begun."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.begun: list = []
        self._open: set = set()

    def __call__(self, item, *_):
        with self._changed:
            self.begun.append(item)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: item in self._open or "all" in self._open, LONG)
        return item

    def let(self, item) -> None:
        with self._changed:
            self._open.add(item)
            self._changed.notify_all()

    def wait(self, *items) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.begun == list(items), LONG), self.begun


@pytest.fixture
def gates():
    prepare, infer, finish = Gate(), Gate(), Gate()
    stages = OverlappedStages(prepare, infer, finish)
    yield stages, prepare, infer, finish
    for gate in (prepare, infer, finish):
        gate.let("all")
    stages.stop()


def test_three_items_are_at_work_at_once(gates):
    stages, prepare, infer, finish = gates
    prepare.let(1), infer.let(1)
    stages.submit(1)
    finish.wait(1)
    prepare.let(2)
    stages.submit(2)
    infer.wait(1, 2)
    stages.submit(3)
    prepare.wait(1, 2, 3)
    assert finish.begun == [1] and infer.begun == [1, 2]  # 1 is being published, 2 inferred, 3 decoded


def test_nothing_queues_and_the_newest_wins(gates):
    stages, prepare, infer, finish = gates
    prepare.let("all"), finish.let("all")
    stages.submit(1)
    infer.wait(1)
    stages.submit(2)
    prepare.wait(1, 2)  # 2 is prepared and waits for the engine: nothing further is begun
    assert stages.submit(3) is None
    assert [stages.submit(item) for item in range(4, 9)] == [3, 4, 5, 6, 7]
    assert prepare.begun == [1, 2]
    assert not stages.idle
    infer.let("all")
    infer.wait(1, 2, 8)
    finish.wait(1, 2, 8)
    deadline_s = time.monotonic() + LONG
    while not stages.idle:
        assert time.monotonic() < deadline_s, "what was replaced counts no more"


def test_errors_are_handed_on_in_order_and_end_nothing():
    done, inferred, finished = [], [], threading.Semaphore(0)

    def prepare(item):
        if item == "bad image":
            raise ValueError(item)

    def infer(item):
        if item == "bad engine":
            raise RuntimeError(item)
        inferred.append(item)

    def finish(item, error):
        done.append((item, error))
        finished.release()

    stages = OverlappedStages(prepare, infer, finish)
    for item in ("a", "bad image", "b", "bad engine", "c"):
        stages.submit(item)
        assert finished.acquire(timeout=LONG)
    assert stages.stop() is None
    assert [item for item, _ in done] == ["a", "bad image", "b", "bad engine", "c"]
    assert [type(error) for _, error in done] == [type(None), ValueError, type(None), RuntimeError, type(None)]
    assert inferred == ["a", "b", "c"]  # what could not be prepared does not reach the engine


def test_stop_finishes_what_has_begun_and_hands_back_the_rest(gates, monkeypatch):
    stages, prepare, infer, finish = gates
    prepare.let("all"), finish.let("all")
    stages.submit(1)
    infer.wait(1)
    stages.submit(2)
    prepare.wait(1, 2)
    stages.submit(3)
    join = threading.Thread.join

    def let_and_join(thread, timeout=None):
        """`stop` waits for its threads once it has taken the waiting item away: only now the engine goes on."""
        infer.let("all")
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", let_and_join)
    assert stages.stop() == 3
    assert finish.begun == [1, 2]
    assert not {"run_prepare", "run_infer", "run_finish"} & {thread.name for thread in threading.enumerate()}


class Clock:
    """A time that only passes when it is set, in place of the module `time`; `asked` once somebody has looked."""

    def __init__(self) -> None:
        self.now_s, self.asked = 0.0, threading.Event()

    def monotonic(self) -> float:
        self.asked.set()
        return self.now_s


def test_preparation_starts_late_enough_to_take_a_newer_item(monkeypatch):
    """The engine takes 1000 s, preparation 1 s by the stages' clock: what comes while the engine is busy is overtaken
    by what comes before the engine is nearly free."""
    clock, prepared, engine, done = Clock(), [], Gate(), threading.Semaphore(0)
    monkeypatch.setattr(stages_module, "time", clock)

    def prepare(item):
        prepared.append(item)
        clock.now_s += 1.0
        return item

    def infer(item):
        engine(item)
        clock.now_s += 1000.0

    stages = OverlappedStages(prepare, infer, lambda item, error: done.release())
    engine.let("warm up")
    stages.submit("warm up")
    assert done.acquire(timeout=LONG)
    stages.submit(1)
    engine.wait("warm up", 1)
    clock.asked.clear()
    assert stages.submit(2) is None  # would be ready long before the engine
    assert clock.asked.wait(LONG)  # preparation has considered it
    assert stages.submit(3) == 2  # so it has not been begun, and the newer one takes its place
    engine.let("all")
    assert done.acquire(timeout=LONG) and done.acquire(timeout=LONG)
    stages.stop()
    assert prepared == ["warm up", 1, 3]
