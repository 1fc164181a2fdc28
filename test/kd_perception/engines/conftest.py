"""A machine with TensorRT and a GPU, played for one test."""

from collections.abc import Iterator
from types import ModuleType

import pytest
from support.host_cuda import HostCuda
from support.tensorrt_machine import compiler, play


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> HostCuda:
    if compiler() is None:
        pytest.skip("no C compiler for the stand-in of the NVIDIA driver")
    return HostCuda(tmp_path_factory.mktemp("driver"), compiler())


@pytest.fixture
def host_cuda(driver: HostCuda) -> Iterator[HostCuda]:
    """The driver's stand-in with one healthy GPU and its counts at 0."""
    driver["devices"], driver["failure"], driver["uploads"], driver["downloads"] = 1, 0, 0, 0
    yield driver
    driver["failure"] = 0


@pytest.fixture
def tensorrt(host_cuda: HostCuda, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in for `import tensorrt`; its globals say what it was asked and what it shall do wrong."""
    return play(monkeypatch, host_cuda)
