"""A process that steps back: all its threads, and those that come later; never back to the front."""

import subprocess
import sys

PROGRAM = """
import os, threading
from pathlib import Path
from kd_perception.nodes.common.priority import lower_priority

def of_threads():
    return {os.getpriority(os.PRIO_PROCESS, int(path.name)) for path in Path("/proc/self/task").glob("*")}

ended = threading.Event()
before = threading.Thread(target=ended.wait)
before.start()
usual = os.getpriority(os.PRIO_PROCESS, 0)
lower_priority(usual)
assert of_threads() == {usual}
lower_priority(usual + 3)
after = threading.Thread(target=ended.wait)
after.start()
assert of_threads() == {usual + 3}
lower_priority(0)
assert of_threads() == {usual + 3}, "who has been put back by others stays there"
ended.set()
"""


def test_every_thread_steps_back():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60.0, start_new_session=True)
