"""Two processes (gloo) give the gradients of one, batch norm frozen: for a student, and for a student with a teacher,
whose blend weights they agree on; and so do two micro-batches of one process, where no loss counts objects."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.checkout import ROOT
from support.ddp_worker import one_step
from support.nuscenes_tables import write_dataset
from support.tiny_runs import distilled_run, student_run, teacher_run

from kd_training.checkpoints.checkpoint import save_weights
from kd_training.config.distill import BlendingMethod
from kd_training.config.experiment import TrainConfig, to_yaml
from kd_training.models.teachers import build_teacher


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"))


@pytest.fixture(scope="module")
def teacher(data, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    config, target = teacher_run(data), tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_weights(build_teacher(config.teacher).state_dict(), config, target)
    return target


def exact(config: TrainConfig) -> TrainConfig:
    config.schedule.precision = "32-true"
    config.data.balance_classes = False
    return config


@pytest.fixture(scope="module")
def configs(data, teacher) -> dict[str, TrainConfig]:
    return {"student": exact(student_run(data)), "distilled": exact(distilled_run(data, teacher))}


@pytest.fixture(scope="module")
def of_two(configs, tmp_path_factory) -> Path:
    """A folder with what each of two processes had, which torchrun started as if on two machines."""
    out = tmp_path_factory.mktemp("two")
    for name, config in configs.items():
        (out / f"{name}.yaml").write_text(to_yaml(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'test'}", "CUDA_VISIBLE_DEVICES": ""}
    meeting = ["--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *meeting, f"--node_rank={node}"]
            + ["-m", "support.ddp_worker", str(out)],
            env=environment,
            cwd=ROOT,
        )
        for node in range(2)
    ]
    assert [process.wait(timeout=240) for process in running] == [0, 0]
    return out


def assert_close(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], may_be_zero: str) -> None:
    """Gradients are equal, and none is zero but of parts whose name begins with `may_be_zero`."""
    assert left.keys() == right.keys()
    largest = max(float(value.abs().max()) for value in right.values())
    for name, value in right.items():
        assert value.any() or name.startswith(may_be_zero), f"{name} has no gradient: nothing is compared"
        assert torch.allclose(left[name], value, rtol=2e-3, atol=1e-5 * largest), name


@pytest.mark.parametrize("kind", ["student", "distilled"])
def test_two_processes_give_the_gradients_of_one(kind, configs, of_two, tmp_path):
    config = configs[kind]
    first, second = (load_file(of_two / f"{kind}{rank}.safetensors") for rank in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    together = replace(config, schedule=replace(config.schedule, batch=2 * config.schedule.batch))
    alone, expected = one_step(together, tmp_path)
    assert_close(first, alone, "model.head.regression.")  # of groups without an object
    weights = {name: value for name, value in expected.items() if name.startswith("weight/")}
    assert bool(weights) == (kind == "distilled")
    for rank in range(2):
        figures = json.loads((of_two / f"{kind}{rank}.json").read_text())
        assert {name: figures[name] for name in weights} == pytest.approx(weights, rel=2e-3)


def test_two_micro_batches_of_one_process_are_one_of_twice_the_samples(data, teacher, tmp_path):
    """For terms that are means over samples, which leave the head out; those that count objects count them batch by
    batch."""
    config = exact(distilled_run(data, teacher))
    config.loss.heatmap = config.loss.box = config.loss.depth = 0.0
    config.distill.blending.method = BlendingMethod.fixed
    two, _ = one_step(replace(config, schedule=replace(config.schedule, batch=2, total_batch=4)), tmp_path / "two")
    one, _ = one_step(replace(config, schedule=replace(config.schedule, batch=4)), tmp_path / "one")
    assert_close(two, one, "model.head.")
