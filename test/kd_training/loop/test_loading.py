"""Batches from worker processes: the same ones, with and without shared memory; signals, faults and deaths."""

import multiprocessing
import os
import signal
import threading
import time

import pytest
import torch
from safetensors.torch import load_file
from support.nuscenes_tables import write_dataset
from support.tiny_runs import distilled_run, student_run, teacher_run

from kd_perception.errors import DataError
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_state
from kd_training.loop import forward_backward, loading
from kd_training.loop.forward_backward import TrainingError
from kd_training.loop.train import train


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("painted"))


def with_workers(data, **schedule):
    config = student_run(data, **schedule)
    config.data.workers = 2
    return config


@pytest.mark.parametrize("free", [64e3, 1e12])
def test_batches_are_the_same_with_little_shared_memory(data, tmp_path, monkeypatch, capsys, free):
    """Of a distilled student, whose batches hold the most."""
    teacher = tmp_path / "teacher" / WEIGHTS_FILE
    assert train(teacher_run(data, 1), teacher.parent)
    config = distilled_run(data, teacher, steps=2, frames=2)
    assert train(config, tmp_path / "alone")
    monkeypatch.setattr(loading, "free_shared_memory", lambda: free)
    config.data.workers = 2
    assert train(config, tmp_path / "workers")
    alone, workers = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("alone", "workers"))
    assert all(torch.equal(alone[name], workers[name]) for name in alone)
    told = " ".join(capsys.readouterr().out.split())
    assert ("/dev/shm has 0 MB free and 2 workers want" in told) == (free < 1e9)


def test_a_signal_to_the_whole_group_saves_the_run(data, tmp_path, monkeypatch):
    config, check = with_workers(data, steps=40, batch=1), forward_backward.check_finite

    def interrupt(losses, step):
        check(losses, step)
        if step == 2:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                for child in multiprocessing.active_children():
                    os.kill(child.pid, number)
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(forward_backward, "check_finite", interrupt)
    assert not train(config, tmp_path)
    assert load_state(tmp_path, config)["step"] == 3
    assert not multiprocessing.active_children()


def test_a_dead_worker_is_a_sentence(data, tmp_path, monkeypatch):
    config, check = with_workers(data, steps=200, batch=1), forward_backward.check_finite

    def kill(losses, step):
        check(losses, step)
        if step == 1:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    monkeypatch.setattr(forward_backward, "check_finite", kill)
    with pytest.raises(TrainingError, match=r"a worker .* ended \(DataLoader worker .*lower data.workers"):
        train(config, tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "is missing; restore it"),
        (lambda path: path.write_bytes(path.read_bytes()[:900]), "truncated"),
        (lambda path: (path.unlink(), path.mkdir()), r"cannot be read \(Is a directory\)"),
    ],
)
def test_a_fault_of_a_file_is_its_sentence(tmp_path, damage, message):
    """Without the traceback of the worker."""
    root = write_dataset(tmp_path / "data", samples=4, sweeps=False)
    path = sorted((root / "samples" / "CAM_BACK").iterdir())[2]
    damage(path)
    with pytest.raises(DataError, match=message) as caught:
        train(with_workers(root, steps=30, batch=1), tmp_path / "out")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_batches_moved_ahead_are_the_same_and_faults_come_in_their_place():
    """The path of a GPU's batches, with a CPU as the device."""

    class Numbered:
        def __init__(self, number):
            self.number = number

        def to(self, device):
            return self.number, device

    def batches():
        yield from map(Numbered, range(5))
        raise DataError("image 5 is cut")

    device, seen = torch.device("cpu"), []
    with pytest.raises(DataError, match="image 5 is cut"):
        for batch in loading.batches_ahead(batches(), device):
            seen.append(batch)
    assert seen == [(number, device) for number in range(5)]
    assert list(loading.batches_ahead(map(Numbered, range(3)), device)) == [(n, device) for n in range(3)]
    ahead = loading.batches_ahead(map(Numbered, range(100)), device)
    assert next(ahead) == (0, device)
    ahead.close()  # a loop that ends early leaves no thread
    assert not any(thread.name.startswith("batches ahead") for thread in threading.enumerate())
