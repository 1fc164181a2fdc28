"""Cells in doubt: they follow an augmentation without holes, end at objects, and count nowhere."""

import numpy as np
import pytest
import torch
from support.distillation import STUDENT_CHANNELS, TEACHER_CHANNELS, box, random_outputs

from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES
from kd_perception.geometry.grid import BevGrid
from kd_training.batches.processes import ALONE
from kd_training.config.distill import FeatureConfig, LayerPair, ResponseConfig
from kd_training.config.sections import LossConfig
from kd_training.data.doubt import DoubtfulCells
from kd_training.data.ground_truth import join_ground_truth
from kd_training.data.targets import detection_targets
from kd_training.distill.terms.features import FeatureTerm
from kd_training.distill.terms.response import BoxTerm, HeatmapTerm
from kd_training.distill.terms.term import AdaptedLayer, ComparedBatch
from kd_training.losses.detection import detection_losses

GRID = BevGrid(-12.8, 12.8, -9.6, 9.6, 0.8)
CAR, BUS = CLASSES.index("car"), CLASSES.index("bus")
BLOCK = GRID.centers()[4:10, 20:29].reshape(-1, 2)  # rows, columns


def doubt(xy: np.ndarray, label: int, everywhere: tuple[int, ...] = ()) -> DoubtfulCells:
    return DoubtfulCells(xy, np.full(len(xy), label), GRID.cell_size, np.array(everywhere, np.int64))


def turned(angle: float, mirror: float = 1.0, scale: float = 1.0) -> np.ndarray:
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, 0, 0], [mirror * sin, mirror * cos, 0, 0], [0, 0, scale, 0], [0, 0, 0, 1]])


def test_as_it_is_the_mask_is_the_cells_of_their_class():
    mask = doubt(BLOCK, BUS, everywhere=(3,)).mask(np.eye(4), GRID, len(CLASSES))
    expected = np.zeros_like(mask)
    expected[BUS, 4:10, 20:29] = True
    expected[3] = True
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(("angle", "mirror", "scale"), [(0.4, 1.0, 1.0), (-2.1, 1.0, 1.05), (0.9, -1.0, 0.95)])
def test_turned_cells_leave_no_holes_and_stay_together(angle, mirror, scale):
    """A cell whose centre came from well inside the block is marked; one that came from a cell further away is not."""
    transform = turned(angle, mirror, scale)
    mask = doubt(BLOCK, CAR).mask(transform, GRID, len(CLASSES))[CAR]
    source = GRID.centers() @ np.linalg.inv(transform)[:2, :2].T
    outside = np.abs(source - BLOCK.mean(axis=0)) - np.array([9, 6]) * GRID.cell_size / 2.0  # metres beyond the block
    inside = (outside < 0.0).all(axis=-1)
    assert inside.any() and mask[inside].all()
    assert not mask[(outside > GRID.cell_size).any(axis=-1)].any()


def test_cells_around_an_object_of_the_class_are_certain():
    everywhere = np.ones((len(CLASSES), *GRID.shape), bool)
    targets = detection_targets(box(2.0, 2.0, 4.0, 2.0, label=CAR), GRID).doubted(everywhere)
    np.testing.assert_array_equal(targets.doubt[CAR], targets.heatmap[CAR] == 0.0)
    assert targets.doubt[BUS].all() and not targets.doubt[CAR].all()


def compared(trusted: bool, student: torch.Tensor, weight: float = 1.0) -> ComparedBatch:
    """A labelled rig and one in doubt where x > 0 for every class; the same boxes in both."""
    boxes = Boxes.concatenate([box(-5.0, 3.0, 4.0, 2.0), box(-8.0, -4.0, 9.0, 3.0, label=BUS)])
    targets = detection_targets(boxes, GRID)
    ahead = np.broadcast_to(GRID.centers()[..., 0] > 0.0, targets.heatmap.shape)
    second = targets if trusted else targets.doubted(ahead, weight)
    outputs = random_outputs(0, 2, STUDENT_CHANNELS)._replace(heatmap=student)
    truth = join_ground_truth([targets, second])
    return ComparedBatch(outputs, random_outputs(1, 2, TEACHER_CHANNELS), truth, ALONE, {})


def test_without_doubt_there_is_no_mask():
    assert compared(trusted=True, student=torch.zeros(1)).truth.trust is None


@pytest.mark.parametrize("within_truth", [True, False])
def test_no_heatmap_loss_reaches_cells_in_doubt(within_truth):
    logits = torch.zeros(2, len(CLASSES), *GRID.shape, requires_grad=True)
    batch = compared(trusted=False, student=logits)
    response = HeatmapTerm(ResponseConfig(heatmap=1.0, within_truth=within_truth))
    for loss in (detection_losses(batch.student, batch.truth, LossConfig())["heatmap"], response(batch).loss):
        (gradient,) = torch.autograd.grad(loss, logits)
        known = batch.truth.trust.known > 0.0
        assert (gradient[~known] == 0.0).all() and (gradient[known] != 0.0).float().mean() > 0.9
        assert known[0].all() and not known[1].all()


def test_the_weight_scales_what_an_unlabelled_rig_adds_and_leaves_distillation_alone():
    logits = torch.zeros(2, len(CLASSES), *GRID.shape)
    full, half = (compared(trusted=False, student=logits, weight=weight) for weight in (1.0, 0.5))
    labelled, both, less = (
        detection_losses(batch.student, batch.truth, LossConfig())["box"].item()
        for batch in (compared(trusted=True, student=logits), full, half)
    )
    assert both == pytest.approx(labelled)
    assert labelled / 2.0 < less < labelled
    for term in (BoxTerm(ResponseConfig(boxes=1.0)), HeatmapTerm(ResponseConfig(heatmap=1.0))):
        assert term(full).loss.item() == term(half).loss.item() > 0.0


def test_where_the_truth_is_in_doubt_the_teacher_is_not_wrong():
    """Its false positives count forty times in the features' term; in doubt they are background."""
    values = []
    for trusted in (True, False):
        batch = compared(trusted=trusted, student=torch.zeros(2, len(CLASSES), *GRID.shape))
        sure = torch.full_like(batch.teacher.heatmap, -9.0)
        sure[1, CAR, :, -4:] = 4.0
        layer = AdaptedLayer(torch.zeros(2, 3, *GRID.shape), torch.ones(2, 3, *GRID.shape))
        seen = ComparedBatch(
            batch.student, batch.teacher._replace(heatmap=sure), batch.truth, ALONE, {"pre_head": layer}
        )
        term = FeatureTerm(LayerPair("pre_head", "pre_head"), FeatureConfig(), GRID)
        values.append(term(seen).loss.item())
    assert values[0] > values[1] * 1.1
