"""Thirds of a layer's channels: which imitates what, where it counts, and scenes without objects."""

import pytest
import torch
from support.distillation import GRID, STUDENT_CHANNELS, TEACHER_CHANNELS, box, make_ground_truth, random_outputs

from kd_perception.geometry.boxes import Boxes
from kd_training.batches.processes import ALONE, TrainingProcesses
from kd_training.config.distill import LayerPair
from kd_training.distill.terms.term import ComparedBatch
from kd_training.distill.terms.thirds import ThirdOf, ThirdTerm, object_mask

PAIR = LayerPair("half", "block1")
TRUTH = make_ground_truth([box(3.0, 2.0, 4.6, 1.9, 0.6), box(-6.0, -3.0, 1.0, 1.0, label=8)])


def make_term(third: ThirdOf) -> ThirdTerm:
    torch.manual_seed(0)
    return ThirdTerm(third, PAIR, 0.3, incoming=STUDENT_CHANNELS["half"], outgoing=TEACHER_CHANNELS["block1"])


def make_batch(truth=TRUTH, processes=ALONE) -> ComparedBatch:
    rigs = len(truth.boxes)
    labels = random_outputs(2, rigs, TEACHER_CHANNELS).features
    teacher = random_outputs(1, rigs, TEACHER_CHANNELS)
    return ComparedBatch(
        random_outputs(0, rigs, STUDENT_CHANNELS, gradient=True), teacher, truth, processes, {}, labels
    )


@pytest.mark.parametrize(("third", "channels"), [(ThirdOf.labels, {0, 1}), (ThirdOf.lidar, {2, 3})])
def test_each_term_reaches_its_own_third_and_the_last_is_free(third, channels):
    batch, term = make_batch(), make_term(third)
    (slope,) = torch.autograd.grad(term(batch).loss, batch.student.features["half"])
    assert {index for index in range(8) if slope[:, index].abs().sum() > 0.0} == channels
    assert term.name == f"{third.name}/half"


def test_each_imitates_its_own_source():
    batch = make_batch()
    other = batch.teacher._replace(features={name: value + 1.0 for name, value in batch.teacher.features.items()})
    changed = ComparedBatch(batch.student, other, batch.truth, ALONE, {}, batch.labels)
    for third, differs in ((ThirdOf.labels, False), (ThirdOf.lidar, True)):
        term = make_term(third).eval()
        assert (term(changed).loss != term(batch).loss) == differs


def test_the_loss_is_the_formula():
    """The squared difference summed over channels, each cell by the true heatmap, or alike where that is above 0."""
    batch = make_batch()
    for third, source in ((ThirdOf.labels, batch.labels), (ThirdOf.lidar, batch.teacher.features)):
        term = make_term(third).eval()
        target = source["block1"]
        adapted = term.adapter(batch.student.features["half"][:, term.channels])
        imitated = torch.nn.functional.interpolate(adapted, size=GRID.shape, mode="bilinear")
        mask = TRUTH.heatmap.sum(1)
        mask = (mask > 0.0).float() if third is ThirdOf.labels else mask
        expected = 0.3 * (mask[:, None] * (target - imitated) ** 2).sum() / mask.sum()
        torch.testing.assert_close(term(batch).loss, expected)


def test_a_coarser_layer_keeps_the_peaks():
    rows, columns = GRID.shape
    coarse = object_mask(TRUTH.heatmap, (rows // 2, columns // 2))
    assert coarse.amax(dim=(1, 2)).tolist() == [1.0, 1.0]
    assert torch.equal(object_mask(TRUTH.heatmap, GRID.shape), TRUTH.heatmap.sum(1))


def test_scenes_without_objects_teach_nothing():
    batch = make_batch(make_ground_truth([Boxes.empty()]))
    for third in ThirdOf:
        loss = make_term(third)(batch).loss
        loss.backward()
        assert loss.item() == 0.0 and torch.isfinite(batch.student.features["half"].grad).all()


def test_the_mask_is_divided_by_the_mean_over_processes():
    term = make_term(ThirdOf.lidar).eval()
    double = TrainingProcesses(2, lambda tensor: 2.0 * tensor)
    torch.testing.assert_close(term(make_batch(processes=double)).loss, term(make_batch()).loss / 2.0)
