"""Random boxes, ground truth and outputs of a small teacher and a small student, for tests of distillation."""

from collections.abc import Sequence

import numpy as np
import torch

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES, NUSCENES
from kd_perception.geometry.grid import BevGrid
from kd_perception.student.box_codes import AXIS, BoxCoding
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.data.ground_truth import GroundTruth, join_ground_truth
from kd_training.data.targets import detection_targets
from kd_training.distill.fit import Side
from kd_training.models.center_head import CenterHead

GRID = BevGrid(-12.8, 12.8, -9.6, 9.6, 0.8)  # 24 rows, 32 columns: what swaps them is found out
STUDENT_CHANNELS = {"enter": 6, "half": 8, "quarter": 10, "pre_head": 6}
TEACHER_CHANNELS = {"block1": 4, "block2": 8, "pre_head": 12}
HALVINGS = {"enter": 0, "half": 1, "quarter": 2, "block1": 0, "block2": 1, "pre_head": 0}


def box(x: float, y: float, length: float, width: float, yaw: float = 0.0, label: int = 0) -> Boxes:
    """One box on the ground, 2 m high, that stands still."""
    return Boxes(
        np.array([[x, y, 1.0]]), np.array([[length, width, 2.0]]), np.array([yaw]), np.zeros((1, 2)),
        np.array([label]), np.ones(1),
    )  # fmt: skip


def random_boxes(seed: int, count: int) -> Boxes:
    """Boxes of all sizes, headings and classes with their centres inside the grid."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform((GRID.x_min, GRID.y_min), (GRID.x_max, GRID.y_max), (count, 2))
    return Boxes(
        center=np.column_stack([xy, rng.uniform(0.0, 2.0, count)]),
        size=np.column_stack([rng.uniform(0.3, 10.0, count), rng.uniform(0.3, 3.0, count), rng.uniform(1, 4, count)]),
        yaw=rng.uniform(-np.pi, np.pi, count),
        velocity=rng.uniform(-5.0, 5.0, (count, 2)),
        label=rng.integers(0, len(CLASSES), count),
        score=np.ones(count),
    )


def make_ground_truth(boxes: Sequence[Boxes]) -> GroundTruth:
    """Ground truth of a batch of rigs that see these boxes."""
    return join_ground_truth([detection_targets(entry, GRID) for entry in boxes])


def side(name: str, channels: dict[str, int], shared: int = 8, hidden: int = 4, coding: BoxCoding = AXIS) -> Side:
    """A detector whose head is a fresh one."""
    return Side(name, GRID, NUSCENES, channels, CenterHead(channels["pre_head"], shared, hidden, NUSCENES, coding))


def random_outputs(seed: int, rigs: int, channels: dict[str, int], gradient: bool = False) -> DetectorOutputs:
    """What a detector might return: features are not negative, as behind a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = GRID.shape
    features = {
        name: torch.rand(rigs, count, rows >> HALVINGS[name], columns >> HALVINGS[name], generator=generator)
        for name, count in channels.items()
    }
    heatmap = torch.randn(rigs, len(CLASSES), rows, columns, generator=generator) - 4.0
    regression = torch.randn(rigs, 6, len(AXIS.names), rows, columns, generator=generator)
    for tensor in (heatmap, regression, *features.values()):
        tensor.requires_grad_(gradient)
    return DetectorOutputs(heatmap, regression, features)
