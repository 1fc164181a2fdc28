"""The stand-in for tf2_ros is held against the real module, where that can be imported."""

import inspect

import numpy as np
import pytest
from rclpy.duration import Duration
from rclpy.time import Time
from support import tf2_standin

from kd_perception.geometry.transforms import make_transform
from kd_perception.ros.geometry import from_transform
from kd_perception.ros.live import LIVE

tf2_ros = pytest.importorskip("tf2_ros", reason="tf2_ros is not installed: nothing to hold the stand-in against")

S = 1_000_000_000
T0 = 1_700_000_000 * S
EXCEPTIONS = [name for name in dir(tf2_standin) if name.endswith("Exception")]
METHODS = [
    (kind, name)
    for kind in ("Buffer",)
    for name, value in vars(getattr(tf2_standin, kind)).items()
    if inspect.isfunction(value) and (name == "__init__" or not name.startswith("_"))
]


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_have_the_real_ones_bases(name):
    bases = [base.__name__ for base in getattr(tf2_ros, name).__mro__]
    assert bases == [base.__name__ for base in getattr(tf2_standin, name).__mro__]


@pytest.mark.parametrize(("kind", "name"), METHODS)
def test_every_method_takes_its_arguments_as_the_real_one(kind, name):
    real, ours = (getattr(getattr(module, kind), name) for module in (tf2_ros, tf2_standin))
    try:
        offered = inspect.signature(real).parameters
    except ValueError:
        pytest.skip(f"{kind}.{name} is written in C and has no signature to compare")
    for parameter in inspect.signature(ours).parameters.values():
        same = offered[parameter.name]
        assert (same.kind, same.default is inspect.Parameter.empty) == (
            parameter.kind,
            parameter.default is inspect.Parameter.empty,
        )


def random_tree(rng: np.random.Generator, frames: int) -> list[tuple[str, str, int, np.ndarray, bool]]:
    """Transforms of a tree with some static and some dynamic edges, stamps of dynamic ones a second apart."""
    entries = []
    for child in range(1, frames):
        parent, static = int(rng.integers(child)), bool(rng.integers(2))
        for second in range(1 if static else 4):
            matrix = make_transform(rng.normal(size=4), rng.normal(size=3))
            entries.append((f"f{parent}", f"f{child}", T0 + second * S, matrix, static))
    return entries


def outcome(module, buffer, target: str, source: str, stamp_ns: int) -> np.ndarray | str:
    """The matrix of a lookup, or the name of what it raises."""
    try:
        found = buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
    except module.TransformException as error:
        return type(error).__name__
    return from_transform(found.transform)


@pytest.mark.parametrize("seed", range(20))
def test_lookups_in_random_trees_come_out_as_the_real_ones(seed):
    rng = np.random.default_rng(seed)
    buffers = [(module, module.Buffer(cache_time=Duration(seconds=10.0))) for module in (tf2_ros, tf2_standin)]
    entries = random_tree(rng, 8) + [("island", "tree", T0, np.eye(4), True)]
    for parent, child, stamp_ns, matrix, static in entries:
        for _, buffer in buffers:
            add = buffer.set_transform_static if static else buffer.set_transform
            add(LIVE.transform(parent, child, stamp_ns, matrix), "test")
    names = [*(f"f{number}" for number in range(8)), "tree", "absent", "/f1", ""]
    for cleared in (False, True):
        for _ in range(200):
            target, source = map(str, rng.choice(names, 2))
            stamp_ns = int(rng.choice([0, T0 - S, T0, T0 + S // 3, T0 + 3 * S, T0 + 4 * S]))
            real, ours = (outcome(module, buffer, target, source, stamp_ns) for module, buffer in buffers)
            assert isinstance(real, str) == isinstance(ours, str), (target, source, stamp_ns, cleared, real, ours)
            assert real == ours if isinstance(real, str) else np.allclose(real, ours, atol=1e-6)
        for _, buffer in buffers:
            buffer.clear()
