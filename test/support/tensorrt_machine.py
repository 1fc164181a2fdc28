"""A machine with TensorRT and a GPU, played: the bindings' stand-in over a driver that works on host memory.

As a pytest plugin (`-p support.tensorrt_machine`) it plays one for a whole run: the tests of test/gpu then run
anywhere.
"""

import shutil
import sys
import tempfile
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from support.host_cuda import HostCuda

STANDIN = Path(__file__).with_name("tensorrt_standin")


def compiler() -> str | None:
    """A C compiler for the driver's stand-in."""
    return shutil.which("cc") or shutil.which("gcc")


def play(patch: pytest.MonkeyPatch, driver: HostCuda) -> ModuleType:
    """Put a fresh stand-in in the place of `tensorrt`, and `driver` in the place of the NVIDIA driver."""
    from kd_perception.engines import tensorrt
    from kd_perception.engines.cuda import Cuda

    for part in ("building", "recording", "running"):
        patch.delitem(sys.modules, f"tensorrt.{part}", raising=False)
    spec = spec_from_file_location("tensorrt", STANDIN / "__init__.py", submodule_search_locations=[str(STANDIN)])
    module = module_from_spec(spec)
    patch.setitem(sys.modules, "tensorrt", module)
    spec.loader.exec_module(module)
    module.driver = str(driver.path)
    patch.setattr(tensorrt, "Cuda", partial(Cuda, str(driver.path)))
    return module


def pytest_configure(config: pytest.Config) -> None:
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    patch = pytest.MonkeyPatch()
    config.add_cleanup(patch.undo)
    play(patch, HostCuda(Path(folder.name), compiler()))
