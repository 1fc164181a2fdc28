"""A failing engine is replaced while frames keep being answered, and says so; the caller's mistakes replace nothing."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from kd_perception.engines.fallback import FallbackEngine
from kd_perception.engines.protocol import Tensor
from kd_perception.errors import EngineError, InputError, MemoryLostError

ONES = {"x": np.ones(3, np.float32)}


class Doubler:
    """Answers y = 2 x; raises `errors`, one in each call, first."""

    def __init__(self, name: str, errors: list[Exception] | None = None) -> None:
        self.name = name
        self.not_kept = f"{name} was not kept"
        self.errors = errors or []

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if self.errors:
            raise self.errors.pop(0)
        assert isinstance(inputs["x"], np.ndarray)
        return {"y": 2.0 * inputs["x"]}


class OnDevice:
    """A tensor of an engine; unreadable once the device is gone."""

    shape, dtype = (3,), np.dtype(np.float32)

    def __init__(self, alive: bool) -> None:
        self.alive = alive

    def numpy(self) -> np.ndarray:
        if not self.alive:
            raise EngineError("cuMemcpyDtoHAsync_v2: unspecified launch failure")
        return np.full(3, 7.0, np.float32)


def opener(engines: Mapping[str, Doubler | Exception]) -> Callable[[str], Doubler]:
    def open_one(name: str) -> Doubler:
        engine = engines[name]
        if isinstance(engine, Exception):
            raise engine
        return engine

    return open_one


def fallback(engines: Mapping[str, Doubler | Exception], report: Callable[[str], None] = print) -> FallbackEngine:
    return FallbackEngine(list(engines), opener(engines), report)


def test_the_first_that_opens_runs_and_the_others_are_told_about():
    reports: list[str] = []
    engine = fallback({"a": EngineError("no GPU"), "b": ImportError("no module b"), "c": Doubler("c")}, reports.append)
    assert engine.name == "c" and engine.not_kept == "c was not kept"
    assert reports == ["engine a: no GPU; engine c runs instead", "engine b: no module b; engine c runs instead"]
    assert engine.failures == ()
    np.testing.assert_array_equal(engine.run(ONES)["y"], 2.0)


def test_nothing_that_opens_is_an_error_that_names_all():
    with pytest.raises(EngineError, match="a: no GPU; b: too old"):
        fallback({"a": EngineError("no GPU"), "b": EngineError("too old")})


@pytest.mark.parametrize("error", [EngineError("launch failed"), RuntimeError("launch failed")])
def test_the_frame_that_failed_is_answered_by_the_next_engine_for_good(error: Exception):
    first = Doubler("first", [error])
    engine = fallback({"first": first, "broken": EngineError("no GPU"), "second": Doubler("second")})
    np.testing.assert_array_equal(engine.run(ONES)["y"], 2.0)
    assert engine.name == "second"
    assert engine.failures == ("engine first failed while running (launch failed); engine second runs from now on",)
    engine.run(ONES)  # the first would work again, but is not asked
    assert engine.name == "second" and len(engine.failures) == 1


def test_engines_may_fail_one_after_the_other_in_one_frame():
    engine = fallback({name: Doubler(name, [RuntimeError("no")]) for name in "ab"} | {"c": Doubler("c")})
    np.testing.assert_array_equal(engine.run(ONES)["y"], 2.0)
    assert engine.name == "c" and len(engine.failures) == 2


def test_wrong_inputs_are_the_callers_mistake():
    engine = fallback({"a": Doubler("a", [InputError("input 'x' is 2x3")]), "b": Doubler("b")})
    with pytest.raises(InputError, match="2x3"):
        engine.run(ONES)
    assert engine.name == "a" and engine.failures == ()


def test_the_last_engine_is_tried_again_in_the_next_frame():
    engine = fallback({"a": Doubler("a", [RuntimeError("out of memory"), RuntimeError("out of memory")])})
    for _ in range(2):
        with pytest.raises(EngineError, match=r"engine a failed while running \(out of memory\); no other engine"):
            engine.run(ONES)
    np.testing.assert_array_equal(engine.run(ONES)["y"], 2.0)
    assert engine.failures == ()


def test_memory_on_the_device_moves_to_the_next_engine():
    engine = fallback({"gpu": Doubler("gpu", [EngineError("launch failed")]), "cpu": Doubler("cpu")})
    np.testing.assert_array_equal(engine.run({"x": OnDevice(alive=True)})["y"], 14.0)


def test_memory_that_died_with_the_device_is_told_and_the_next_engine_waits():
    engine = fallback({"gpu": Doubler("gpu", [EngineError("launch failed")]), "cpu": Doubler("cpu")})
    with pytest.raises(MemoryLostError, match="engine gpu failed, and the temporal memory with it"):
        engine.run({"x": OnDevice(alive=False)})
    assert engine.name == "cpu" and len(engine.failures) == 1
    np.testing.assert_array_equal(engine.run(ONES)["y"], 2.0)  # what the pipeline does next: without memory
