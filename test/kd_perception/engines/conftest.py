"""A machine with TensorRT and a GPU, played for one test."""

from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType

import pytest
from support.fake_student import TEMPORAL_SPEC, write_fake_student
from support.host_cuda import HostCuda
from support.tensorrt_machine import compiler, play
from support.tensorrt_opened import SMALL

from kd_perception.student.spec import Student, load_student

HEALTHY = {"devices": 1, "failure": 0, "full": 0, "capturable": 1, "uploads": 0, "downloads": 0, "copies": 0}


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> HostCuda:
    if compiler() is None:
        pytest.skip("no C compiler for the stand-in of the NVIDIA driver")
    return HostCuda(tmp_path_factory.mktemp("driver"), compiler())


@pytest.fixture
def host_cuda(driver: HostCuda) -> Iterator[HostCuda]:
    """The driver's stand-in with one healthy GPU and its counts at 0."""
    for name, value in HEALTHY.items():
        driver[name] = value
    yield driver
    driver["failure"] = 0


@pytest.fixture
def tensorrt(host_cuda: HostCuda, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in for `import tensorrt`; its globals say what it was asked and what it shall do wrong."""
    return play(monkeypatch, host_cuda)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return load_student(write_fake_student(tmp_path_factory.mktemp("student") / "fake.onnx", SMALL))


@pytest.fixture(scope="module")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Student:
    spec = replace(TEMPORAL_SPEC, grid=SMALL.grid)
    return load_student(write_fake_student(tmp_path_factory.mktemp("student") / "temporal.onnx", spec))
