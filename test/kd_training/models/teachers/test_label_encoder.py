"""A label encoder is the inverse of the shipped teacher's head: boxes that are painted are found again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.checkout import ROOT

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.student.decode import decode
from kd_training.checkpoints.checkpoint import checkpoint_config, load_weights
from kd_training.config.labels import LabelModelConfig
from kd_training.config.sections import DetectionLossConfig, GridConfig
from kd_training.config.teacher import TeacherModelConfig
from kd_training.data.ground_truth import join_ground_truth
from kd_training.data.painted_boxes import paint_boxes
from kd_training.data.targets import detection_targets
from kd_training.losses.detection import detection_losses
from kd_training.models.teachers import build_teacher
from kd_training.models.teachers.centerpoint import CenterPoint
from kd_training.models.teachers.label_encoder import LabelEncoder

EXTENT, STEPS, RATE = 9.6, 120, 3e-3
SHIPPED = ROOT / "models" / "centerpoint_demo.safetensors"


def scene(rng: np.random.Generator) -> Boxes:
    """Six boxes of any class and heading, 3 m apart at least."""
    places = []
    for place in rng.uniform(-EXTENT + 0.1, EXTENT - 0.1, (60, 2)):
        if len(places) < 6 and all(np.hypot(*(place - other)) > 3.0 for other in places):
            places.append(place)
    count = len(places)
    return Boxes(
        center=np.column_stack([places, rng.uniform(0.0, 2.0, count)]),
        size=rng.uniform([0.5, 0.5, 1.0], [4.0, 2.0, 2.0], (count, 3)),
        yaw=rng.uniform(-np.pi, np.pi, count), velocity=rng.uniform(-5.0, 5.0, (count, 2)),
        label=rng.integers(0, len(CLASSES), count), score=np.ones(count),
    )  # fmt: skip


def average_precision(found: list[Boxes], scenes: list[Boxes]) -> float:
    """Over all classes together; a box is found by one of its class within a metre."""
    hits = []
    for detections, truth in zip(found, scenes, strict=True):
        free = np.ones(len(truth), bool)
        for detection in range(len(detections)):
            distance = np.hypot(*(truth.center[:, :2] - detections.center[detection, :2]).T)
            distance[~free | (truth.label != detections.label[detection])] = np.inf
            nearest = distance.argmin()
            hits.append((detections.score[detection], distance[nearest] < 1.0))
            free[nearest] &= not hits[-1][1]
    right = np.array([hit for _, hit in sorted(hits, key=lambda entry: -entry[0])])
    precision = right.cumsum() / np.arange(1, len(right) + 1)
    return float((np.maximum.accumulate(precision[::-1])[::-1] * right).sum() / sum(map(len, scenes)))


@pytest.fixture(scope="module")
def teacher() -> CenterPoint:
    """The shipped one on a small grid: convolutions do not ask how large it is."""
    config = checkpoint_config(SHIPPED).teacher
    model = build_teacher(replace(config, grid=GridConfig(EXTENT, config.grid.cell_size)))
    load_weights(model, SHIPPED)
    return model.eval().requires_grad_(requires_grad=False)


def test_the_frozen_head_finds_boxes_that_the_encoder_never_saw(teacher):
    torch.manual_seed(0)
    rng, before = np.random.default_rng(0), {name: value.clone() for name, value in teacher.state_dict().items()}
    encoder = LabelEncoder(LabelModelConfig(), teacher)
    optimizer = torch.optim.AdamW(encoder.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
    for _ in range(STEPS):
        truth = join_ground_truth([detection_targets(scene(rng), teacher.grid, teacher.coding) for _ in range(2)])
        outputs = teacher.from_levels(encoder(paint_boxes(truth.boxes, teacher.grid), 2))
        optimizer.zero_grad()
        sum(detection_losses(outputs, truth, DetectionLossConfig()).values()).backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 20.0)
        optimizer.step()
        schedule.step()
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    scenes = [scene(rng) for _ in range(8)]
    with torch.no_grad():
        outputs = teacher.from_levels(encoder(paint_boxes(scenes, teacher.grid), 8))
    maps = zip(torch.sigmoid(outputs.heatmap).numpy(), outputs.regression.numpy(), strict=True)
    assert average_precision([decode(*each, teacher.grid, 0.05, coding=teacher.coding) for each in maps], scenes) > 0.9


def test_levels_are_shaped_as_the_backbones_with_two_blocks_and_three():
    for blocks, pillar in ((2, 0.4), (3, 0.2)):
        config = TeacherModelConfig(
            name="t", pillar_size=pillar, block_channels=[4, 6, 8][:blocks], block_layers=[1] * blocks,
            neck_channels=4, grid=GridConfig(6.4, 0.8),
        )  # fmt: skip
        model = build_teacher(config)
        levels = LabelEncoder(LabelModelConfig(channels=8), model)(paint_boxes([Boxes.empty()] * 2, model.grid), 2)
        sizes = {2: [16, 8], 3: [32, 16, 8]}[blocks]
        assert [tuple(level.shape) for level in levels] == [
            (2, channels, size, size) for channels, size in zip(config.block_channels, sizes, strict=True)
        ]
        assert model.from_levels(levels).heatmap.shape[2:] == (16, 16)
