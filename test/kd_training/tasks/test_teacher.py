"""A teacher's run: resumed it is the same bit by bit, pasted objects included."""

import json

import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import write_dataset
from support.tiny_runs import teacher_run

from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_state
from kd_training.evaluation.validation import validation_metrics
from kd_training.loop.train import train


def test_an_interrupted_and_resumed_teacher_is_bit_exact_and_is_validated(tmp_path, monkeypatch):
    config = teacher_run(write_dataset(tmp_path / "data"))
    assert train(config, tmp_path / "straight")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 1)
        assert not train(config, tmp_path / "resumed")
    assert load_state(tmp_path / "resumed", config)["step"] == 2
    assert train(config, tmp_path / "resumed", resume=True)
    straight, resumed = (load_file(tmp_path / name / WEIGHTS_FILE) for name in ("straight", "resumed"))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    ((_, metrics),) = validation_metrics(tmp_path / "straight")
    summary = json.loads((tmp_path / "straight" / "metrics" / "metrics_summary.json").read_text())
    assert (summary["mean_ap"], summary["nd_score"]) == (metrics.mean_ap, metrics.nds)
    assert (summary["meta"]["use_lidar"], summary["meta"]["use_camera"]) == (True, False)
