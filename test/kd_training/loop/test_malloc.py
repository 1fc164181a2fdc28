"""A step's large blocks are not asked of the kernel again and again."""

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import torch
from kd_training.loop.malloc import tune_malloc

if sys.argv[1] == "tuned":
    assert tune_malloc()

def step():
    blocks = [torch.ones(size * 2**18) for size in (1, 20, 100)]  # of so many MB
    return sum(float(block[0]) for block in blocks)

for _ in range(15):  # until blocks have found their places
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc has other settings")
def test_later_steps_touch_no_fresh_page():
    """In a process of its own: the setting stays for good."""

    def faults(kind: str) -> int:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("GLIBC_", "MALLOC_"))}
        ran = subprocess.run([sys.executable, "-c", COUNT, kind], capture_output=True, text=True, check=True, env=plain)
        return int(ran.stdout)

    assert faults("tuned") < 200 < faults("plain")
