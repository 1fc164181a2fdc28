"""The tests of test/gpu themselves: rehearsed over the stand-ins, so that they are in order when a GPU comes."""

import os
import subprocess
import sys

import pytest
from support.checkout import ROOT
from support.tensorrt_machine import compiler


@pytest.mark.skipif(compiler() is None, reason="no C compiler for the stand-in of the NVIDIA driver")
def test_the_gpu_tests_pass_where_a_gpu_is_played():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "support.tensorrt_machine", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "test")}
    result = subprocess.run(
        [*command, "-k", "not splat", "test/gpu"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-1000:]
    assert "passed" in result.stdout and "skipped" not in result.stdout
