"""A run killed at any moment (SIGKILL) leaves whole files and goes on from its last save, to the same end."""

import multiprocessing
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.nuscenes_tables import write_dataset
from support.tiny_runs import student_run

from kd_training.checkpoints.checkpoint import STATE_ENTRIES, STATE_FILE, WEIGHTS_FILE, load_state, save_state
from kd_training.config.experiment import to_yaml
from kd_training.loop.state import RunState
from kd_training.loop.train import train

STEPS = 8


@pytest.fixture
def one_thread(monkeypatch):
    """In this process and in those it starts: sums depend on the number of threads."""
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_killed_run_goes_on(tmp_path):
    config = student_run(write_dataset(tmp_path / "data"), steps=STEPS, batch=1, save_minutes=0.0)
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kd_perception.cli", "train", str(tmp_path / "config.yaml"), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(out / STATE_FILE)
        process.send_signal(signal.SIGKILL)
    assert 1 <= load_state(out, config)["step"] < STEPS
    saved = load_file(out / WEIGHTS_FILE)
    assert train(config, out, resume=True)
    assert train(replace(config, schedule=replace(config.schedule, save_minutes=60.0)), tmp_path / "straight")
    resumed, straight = (load_file(folder / WEIGHTS_FILE) for folder in (out, tmp_path / "straight"))
    assert saved.keys() == resumed.keys() == straight.keys()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)
    assert not all(torch.equal(saved[name], straight[name]) for name in straight)  # it did not end before the kill


def test_a_kill_while_saving_leaves_a_whole_state(tmp_path):
    config = student_run(tmp_path)
    state = {**dict.fromkeys(STATE_ENTRIES, 0), "config": to_yaml(config), "model": torch.arange(300_000.0)}
    for milliseconds in (5, 20, 35, 50, 65):
        process = multiprocessing.get_context("fork").Process(target=save_for_ever, args=(state, tmp_path / STATE_FILE))
        process.start()
        wait_for(tmp_path / STATE_FILE)
        time.sleep(milliseconds / 1e3)
        process.kill()
        process.join()
        assert torch.equal(load_state(tmp_path, config)["model"], state["model"])
    (tmp_path / f".{Path(STATE_FILE).stem}.cut{Path(STATE_FILE).suffix}").write_bytes(b"the beginning")
    RunState.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def save_for_ever(state: dict, target: Path) -> None:
    while True:
        save_state(state, target)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60.0
    while not path.is_file():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.01)
