"""scripts/setup.sh refuses in one sentence, before it makes anything, where a tool it needs is missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.checkout import ROOT

NEEDED = ("scripts", "requirements", "kd_msgs", "launch", "config", "setup.py", "setup.cfg", "package.xml")
COREUTILS = ("bash", "env", "dirname", "sha256sum", "cut", "cat", "find", "sort", "flock")


@pytest.fixture
def checkout(tmp_path):
    """What set-up reads, in a folder with no environment yet."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "models").mkdir()
    for name in (*NEEDED, "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    return folder


def path_with(tmp_path, tools):
    """A PATH folder on which only these tools are found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in (*COREUTILS, *tools):
        (folder / tool).symlink_to(shutil.which(tool))
    return folder


def run_setup(checkout, path, python):
    environment = {"PATH": str(path), "PYTHON": str(python), "HOME": str(checkout)}
    return subprocess.run(
        [str(checkout / "scripts" / "setup.sh")],
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def base_python():
    """The interpreter this environment was made of: a virtual environment's own may not make another."""
    return Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"


def assert_refused(result, checkout, *words):
    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in (*words, "apt-get install", "python3-venv"):
        assert word in result.stderr
    assert not (checkout / ".venv").exists()


def test_no_suitable_python(checkout, tmp_path):
    result = run_setup(checkout, path_with(tmp_path, ()), tmp_path / "no-python")
    assert_refused(result, checkout, "Python 3.11 or 3.12", str(tmp_path / "no-python"))


@pytest.mark.parametrize("missing", ["c++", "cmake", "make"])
def test_missing_build_tool(checkout, tmp_path, missing):
    tools = [tool for tool in ("c++", "cmake", "make") if tool != missing]
    result = run_setup(checkout, path_with(tmp_path, tools), base_python())
    assert_refused(result, checkout, f"{missing} is not installed")
