"""Ctrl-C twice, SIGTERM and SIGHUP in every command while it is at work: status 130, no traceback, no half files.

`kd up` and `kd demo` start processes of their own; their tests are in test_processes.py and test_demo.py.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.checkout import ROOT
from support.domains import free_domain
from support.fake_student import write_fake_student
from support.nuscenes_tables import SCENES, VERSION, write_dataset

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.datasets.nuscenes import open_nuscenes

pytestmark = pytest.mark.ros
LONG_S = 120.0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A painted data set, a scene of it as a bag, and a student."""
    folder = tmp_path_factory.mktemp("world")
    dataroot = write_dataset(folder / "data", samples=40)
    write_scene(open_nuscenes(dataroot, VERSION), SCENES[0], folder / "bag")
    write_fake_student(folder / "fake.onnx")
    return folder


def has_files(folder: Path) -> bool:
    """Whether anything with bytes lies below a folder."""
    return folder.is_dir() and any(path.is_file() and path.stat().st_size for path in folder.rglob("*"))


def holds_open(pid: int, part: str) -> bool:
    """Whether a process has a file open, or a library loaded, whose path contains `part`."""
    process = Path(f"/proc/{pid}")
    try:
        if part in (process / "maps").read_text():
            return True
        return any(part in os.readlink(entry) for entry in (process / "fd").iterdir())
    except OSError:  # a file was closed while we looked, or the process has ended
        return False


def commands(world: Path, out: Path) -> dict[str, tuple[list[str], Callable[[int], bool]]]:
    """Arguments of each command, and how one sees that it is at work."""
    data = ["--dataroot", world / "data", "--version", VERSION]
    painted = "{root: '%s', version: %s}" % (world / "data", VERSION)  # noqa: UP031 - braces are YAML's
    train = [
        "train", ROOT / "config/training/bevdet_demo.yaml", f"data.roots=[{painted}]", "data.validation=[]",
        "data.workers=2", "schedule.batch=1", "--out", out / "run",
    ]  # fmt: skip
    return {
        "synth": (
            ["synth", "--scenes", "2", "--jobs", "2", "--out", out / "synth"],
            lambda _: has_files(out / "synth"),
        ),
        "train": (train, lambda _: has_files(out / "run")),
        "eval": (
            ["eval", "--student", world / "fake.onnx", *data, "--engine", "onnxruntime", "--out", out / "eval"],
            lambda pid: holds_open(pid, "onnxruntime"),
        ),
        "export": (
            ["export", ROOT / "models/bevdet_demo.safetensors", "--out", out / "student.onnx"],
            lambda pid: holds_open(pid, "libtorch"),
        ),
        "bag": (
            ["bag", *data, "--scene", SCENES[0], "--out", out / "bag"],
            lambda _: any(out.glob(".bag.*")),
        ),
        "replay": (["replay", world / "bag", "--rate", "0.1"], lambda pid: holds_open(pid, ".mcap")),
        "bench": (
            ["bench", "parity", *data, "--threads", "1", "--out", out / "parity.md"],
            lambda pid: holds_open(pid, "onnxruntime"),
        ),
        "rig": (["rig", "check", "--bag", world / "bag", "--out", out / "rig"], lambda pid: holds_open(pid, ".mcap")),
    }


@pytest.mark.parametrize(
    "name, signals",
    [
        *((name, [signal.SIGINT] * 2) for name in ("synth", "eval", "export", "bag", "replay", "rig")),
        *((name, [signal.SIGTERM]) for name in ("synth", "export", "replay", "bench")),
        *((name, [signal.SIGHUP, signal.SIGTERM]) for name in ("eval", "bag", "rig", "train")),
    ],
)
def test_a_signal_at_work(world, tmp_path, name, signals):
    out = tmp_path / "out"
    out.mkdir()
    arguments, at_work = commands(world, out)[name]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(free_domain()), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "kd_perception.cli", *map(str, arguments)], env=environment, text=True,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    deadline_s = time.monotonic() + LONG_S
    while process.poll() is None and not at_work(process.pid):
        assert time.monotonic() < deadline_s, f"kd {name} did not get to work"
        time.sleep(0.02)
    for index, number in enumerate(signals):
        if index:
            time.sleep(0.1)
        os.killpg(process.pid, number)  # as terminals and supervisors do: to the command and its workers
    output, _ = process.communicate(timeout=LONG_S)
    ends = (130, *(-number for number in signals))  # by a signal itself if it comes at the very end
    assert process.returncode in ends, output
    assert "Traceback" not in output and "Error" not in output, output
    assert not [path for path in out.rglob("*") if path.name.startswith(".")], "something half-written was left"
