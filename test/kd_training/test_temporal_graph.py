"""A temporal student through the node graph: memory warped by odometry from tf gives what `kd eval` finds with the data
set's own poses."""

import json

import numpy as np
import pytest
import torch
from support.graph import free_domain
from support.nuscenes_tables import SCENES, VERSION, write_dataset

from kd_perception.bags.nuscenes_bag import write_scene
from kd_perception.evaluation.dataset import detect_scenes
from kd_perception.evaluation.replay import STATUS, replay_bag
from kd_perception.nuscenes import open_nuscenes
from kd_perception.pipeline import Pipeline
from kd_perception.student import load_student
from kd_training.config import ModelConfig, TemporalConfig, ViewConfig
from kd_training.export import export_student
from kd_training.students import build_student

pytest.importorskip("rclpy", reason="rclpy is not installed: the node graph cannot run")
KEYFRAMES = 6
THRESHOLD = 0.653  # just above the plateau that random weights give cells without any feature


def write_student(path):
    """Random weights, memory included: what it finds means nothing, but depends on every input."""
    torch.manual_seed(3)
    narrow = dict.fromkeys(("neck_channels", "context_channels", "bev_channels", "head_shared", "head_hidden"), 8)
    model = build_student(
        ModelConfig(
            name="random", bev_blocks=1, view=ViewConfig(heights=[0.5]), temporal=TemporalConfig(frames=2), **narrow
        )
    )
    for module in (model.fusion, model.motion, model.head):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    export_student(model, path, {}, {}, {})
    return path


def share_found(first: dict, second: dict) -> float:
    """Share of the boxes of `first` that stand in `second`: same place, score and velocity. Random weights leave ties,
    which turn out one way or the other."""
    found = total = 0
    for one, other in zip(first.values(), second.values(), strict=True):
        mine, theirs = (
            np.array([[*row["translation"][:2], row["detection_score"], *row["velocity"]] for row in rows])
            for rows in (one, other)
        )
        found += (np.abs(mine[:, None] - theirs[None]) < 1e-4).all(axis=2).any(axis=1).sum()
        total += len(mine)
    return found / total


@pytest.mark.ros
@pytest.mark.slow
def test_graph_and_dataset_evaluation_agree_on_a_temporal_student(tmp_path) -> None:
    nusc = open_nuscenes(write_dataset(tmp_path / "data", samples=KEYFRAMES, sweeps=False), VERSION)
    student = write_student(tmp_path / "student.onnx")
    scene = SCENES[0]

    def direct(with_pose: bool) -> dict:
        pipeline = Pipeline(load_student(student), "onnxruntime", score_threshold=THRESHOLD, threads=1)
        return detect_scenes(pipeline, nusc, [scene], with_pose=with_pose).results

    write_scene(nusc, scene, tmp_path / "bag")
    run = replay_bag(
        tmp_path / "bag", student, tmp_path / "out", "onnxruntime", score_threshold=THRESHOLD, threads=1,
        domain_id=free_domain(), timeout_s=120,
    )  # fmt: skip
    statuses = [json.loads(line) for line in (tmp_path / "out" / STATUS).read_text().splitlines()]
    assert [status["memory_state"] for status in statuses] == ["empty"] + ["used"] * (KEYFRAMES - 1)
    expected, without = direct(with_pose=True), direct(with_pose=False)
    assert all(len(rows) > 10 for rows in run.results.values())
    assert min(share_found(expected, run.results), share_found(run.results, expected)) > 0.95
    assert share_found(expected, without) < 0.5  # the memory does count
