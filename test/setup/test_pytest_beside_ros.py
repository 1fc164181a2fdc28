"""The tests start next to a sourced ROS 2, whose pytest plugins are written for older versions of pytest."""

import os
import subprocess
import sys

import pytest
from support.checkout import ROOT

PLUGINS = {  # by entry point, as ros2/launch and ros2/launch_ros declare them; hooks that pytest 9 refuses
    "launch_testing": "def pytest_pycollect_makemodule(path, parent): pass",
    "launch_ros": "def pytest_launch_collect_makemodule(path, parent, entrypoint): pass",
    "launch_pytest": "raise ImportError('of a package that is not built yet')",
}


@pytest.fixture
def sourced(tmp_path):
    """A test and the environment in which pytest finds these plugins."""
    for name, source in PLUGINS.items():
        (tmp_path / f"fake_{name}.py").write_text(source)
        metadata = tmp_path / f"fake_{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fake-{name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[pytest11]\n{name} = fake_{name}\n")
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return tmp_path / "test_one.py", {**os.environ, "PYTHONPATH": paths}


def run(sourced, *options):
    file, environment = sourced
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider"]
    return subprocess.run([*command, *options, str(file)], env=environment, cwd=ROOT, capture_output=True, text=True)


def test_pytest_starts(sourced):
    result = run(sourced)
    assert result.returncode == 0 and "1 passed" in result.stdout, result.stdout + result.stderr


def test_without_our_options_it_would_not(sourced):
    """Or the test above would show nothing."""
    assert run(sourced, "-o", "addopts=").returncode != 0
