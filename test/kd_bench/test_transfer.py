"""`kd bench transfer`: known linear maps are found, and the rasters of a real pair are compared where they stand."""

import pytest
import torch
from support.nuscenes_tables import VERSION, write_dataset
from support.tiny_runs import student_run, teacher_run

from kd_bench.transfer import Cells, open_pair, row_of, samples, unexplained
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.config.distill import LayerPair
from kd_training.config.sections import DataRoot
from kd_training.models.students import build_student
from kd_training.models.teachers import build_teacher


def test_a_linear_map_is_found_and_noise_is_not():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    mix, inputs = draw(6, 3), [draw(500, 6) for _ in range(4)]
    known = [Cells(x, x @ mix + 5.0) for x in inputs]
    half = [Cells(x, torch.cat([x[:, :1], draw(500, 1)], dim=1)) for x in inputs]
    foreign = [Cells(x, draw(500, 3)) for x in inputs]
    assert unexplained(known) == pytest.approx(0.0, abs=1e-3)
    assert unexplained(half) == pytest.approx(0.5, abs=0.05)
    assert unexplained(foreign) == pytest.approx(1.0, abs=0.1)


def test_layers_and_predictions_of_a_pair_are_compared(tmp_path):
    torch.manual_seed(0)  # of the random weights: how large features are decides what the ridge leaves unexplained
    data = write_dataset(tmp_path / "data")
    own, taught = student_run(data), teacher_run(data)
    own.distill.layers = [LayerPair("half", "block2"), LayerPair("pre_head", "pre_head")]
    save_weights(build_student(own.model).state_dict(), own, tmp_path / "student.safetensors")
    save_weights(build_teacher(taught.teacher).state_dict(), taught, tmp_path / "teacher.safetensors")
    source = DataRoot(root=str(data), version=VERSION)
    found = samples(open_pair(tmp_path / "student.safetensors", tmp_path / "teacher.safetensors", source, 0), 3)
    assert list(found) == [
        ("half", "block2"), ("pre_head", "pre_head"), ("pre_head", "heatmap logits"), ("pre_head", "box codes"),
    ]  # fmt: skip
    for entries in found.values():
        for sample in entries:
            assert all(torch.equal(cells.student, sample.boxes.student) for cells in sample.moved)
            assert len(sample.boxes.student) == len(sample.boxes.teacher) > 0 and len(sample.anywhere.teacher) > 0
    for pair, entries in found.items():
        known = [sample._replace(boxes=itself(sample.boxes), anywhere=itself(sample.anywhere)) for sample in entries]
        in_boxes, _, anywhere = map(float, row_of(pair, known)[2:])
        assert max(in_boxes, anywhere) < 0.2, pair  # the student's own features explain themselves


def itself(cells: Cells) -> Cells:
    """The student's cells as the teacher's, too."""
    return Cells(cells.student, cells.student)
