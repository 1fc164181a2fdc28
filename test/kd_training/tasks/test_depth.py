"""An image half that learns LiDAR depth alone: without any label, without a BEV half, and scored by depth."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import student_run
from typer.testing import CliRunner

from kd_perception.cli import app
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, load_weights
from kd_training.config.experiment import to_yaml
from kd_training.config.sections import LossConfig
from kd_training.data.targets import NO_DEPTH
from kd_training.evaluation.depth import depth_sums
from kd_training.loop.train import open_run, train
from kd_training.models.bev_encoder import BevEncoder
from kd_training.models.students import build_student
from kd_training.models.students.bevdet import IMAGE_HALF, BevDet
from kd_training.tasks import build_task


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory) -> Path:
    """A data set that nobody has annotated."""
    root = write_dataset(tmp_path_factory.mktemp("unlabelled"))
    (root / VERSION / "sample_annotation.json").write_text("[]")
    return root


def depth_run(data: Path, steps: int = 3, frames: int = 1):
    config = student_run(data, steps, frames, learning_rate=1e-2, freeze_stages=0)
    config.data.balance_classes = False
    return replace(config, loss=LossConfig(heatmap=0.0, box=0.0, depth=1.0))


def test_one_command_teaches_the_image_half_without_labels_and_scores_its_depth(unlabelled, tmp_path, monkeypatch):
    def computed(*_):
        raise AssertionError("the BEV half is computed")

    monkeypatch.setattr(BevEncoder, "refine", computed)
    monkeypatch.setattr(BevDet, "batch_bev", computed)
    (tmp_path / "depth.yaml").write_text(to_yaml(depth_run(unlabelled)))
    command = ["train", str(tmp_path / "depth.yaml"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0 and "cross-entropy" in result.output
    figures = json.loads((tmp_path / "out" / "metrics" / "depth.json").read_text())
    assert figures["pixels"] > 0 and 0 <= figures["exact"] <= figures["within_one"] <= 1
    assert not (tmp_path / "out" / "pictures").exists()


def test_only_the_image_half_moves_and_a_student_with_memory_starts_from_it(unlabelled, tmp_path):
    config = depth_run(unlabelled)
    assert train(config, tmp_path)
    after = load_file(tmp_path / WEIGHTS_FILE)
    before = open_run(config, tmp_path / "again", None, resume=False).task.model.state_dict()
    moved = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert moved == set(IMAGE_HALF)
    student = build_student(student_run(unlabelled, frames=2).model)
    load_weights(student, tmp_path / WEIGHTS_FILE, student.added_modules, ["encoder", "head", "fusion", "motion"])
    assert torch.equal(student.state_dict()["neck.output.0.weight"], after["neck.output.0.weight"])


def test_a_student_with_memory_reads_no_earlier_frames_for_depth(unlabelled):
    task = build_task(depth_run(unlabelled, frames=2))
    assert task.batches(RunPlan(steps=1))[0].inputs.previous is None


def test_depth_is_scored_at_returns_only():
    """Four pixels: right, one bin off, two off, and one without a return."""
    logits = torch.full((1, 4, 2, 2), -30.0)
    labels = torch.tensor([[[0, 1], [0, NO_DEPTH]]])
    for row, column, best in ((0, 0, 0), (0, 1, 2), (1, 0, 2), (1, 1, 3)):
        logits[0, best, row, column] = 0.0
    assert np.allclose(depth_sums(logits, labels), [3, 60.0, 1, 2], atol=1e-4)
    nothing = torch.full((1, 2, 2), NO_DEPTH)
    assert not depth_sums(logits, nothing).any()
