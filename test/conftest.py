"""For every test."""

import gc
import os
import re
import signal
import sys

import pytest

from kd_perception.resources import resource
from kd_perception.shared_memory import remove_orphaned_segments

# A shell ignores SIGINT for what it runs in the background, nohup ignores SIGHUP, and programs that a test starts would
# inherit that: tests of Ctrl-C and of closed terminals would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Each test process, and what it starts, has one core: `make test` runs one process a core. Before numpy and torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests start hundreds of Python processes: bytecode is kept for those that come later, whatever the shell says.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

SEGMENT_BYTES = 2**25  # six raw images of the largest painted rig, four times over


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, or one process would still be at them when the other has nothing left."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was imported stays to the end: whoever collects garbage need not look through it again and again."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Nodes that a test or a time-out has killed leave shared memory behind."""
    remove_orphaned_segments()


@pytest.fixture(scope="session", autouse=True)
def small_segments(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests' images are small: the kernel clears each participant's whole segment, which took a tenth of a second."""
    shipped = resource("config/fastdds.xml").read_text()
    profile = tmp_path_factory.mktemp("middleware") / "fastdds.xml"
    size = re.compile(r"(?<=<segment_size>)\d+(?=</segment_size>)")
    assert int(size.search(shipped)[0]) > SEGMENT_BYTES
    profile.write_text(size.sub(str(SEGMENT_BYTES), shipped))
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(profile)
