"""Runs that share their batches: who may, and each ends as if it had trained alone."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from support.interrupts import interrupt_at
from support.nuscenes_tables import write_dataset
from support.tiny_runs import (
    cross_scale_run,
    distilled_run,
    student_run,
    teacher_run,
    write_fine_student,
    write_teacher,
)

from kd_perception.errors import ConfigError
from kd_training.checkpoints.checkpoint import STATE_FILE, WEIGHTS_FILE
from kd_training.loop.companions import batches_key, reader_of
from kd_training.loop.train import RunStart, train, train_together


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("companions"))


@pytest.fixture(scope="module")
def arms(data, tmp_path_factory):
    """A short run without a teacher, and a longer one with."""
    teacher = write_teacher(tmp_path_factory.mktemp("teacher") / "teacher.safetensors")
    return student_run(data, 2), distilled_run(data, teacher, 5)


def test_runs_that_train_together_end_as_if_each_had_been_alone(arms, tmp_path, monkeypatch):
    for number, config in enumerate(arms):
        assert train(config, tmp_path / f"alone{number}")
    starts = [RunStart(config, tmp_path / f"together{number}") for number, config in enumerate(arms)]
    resumed = [replace(start, resume=True) for start in starts]
    for given, step in ((starts, 0), (resumed, 3)):  # both are under way; the shorter one has ended
        with monkeypatch.context() as patch:
            interrupt_at(patch, step)
            assert not train_together(given, 0)
    assert train_together(resumed, 0)
    for number in range(len(arms)):
        alone, together = (load_file(tmp_path / f"{name}{number}" / WEIGHTS_FILE) for name in ("alone", "together"))
        assert alone.keys() == together.keys() and all(torch.equal(alone[name], together[name]) for name in alone)
        assert (tmp_path / f"together{number}" / STATE_FILE).is_file()


def test_the_one_with_clouds_reads_for_all(arms):
    assert reader_of(arms) == 1 and reader_of(arms[::-1]) == 0 and reader_of(arms[:1]) == 0


def test_only_equal_batches_are_shared(arms, data, tmp_path):
    plain, taught = arms
    assert batches_key(plain) == batches_key(taught)
    assert batches_key(replace(plain, data=replace(plain.data, workers=3, validation=[]))) == batches_key(plain)
    others = {
        "seed": replace(plain, schedule=replace(plain.schedule, seed=7)),
        "batch": replace(plain, schedule=replace(plain.schedule, batch=plain.schedule.batch + 1)),
        "data": replace(plain, data=replace(plain.data, balance_classes=not plain.data.balance_classes)),
        "model": replace(plain, model=replace(plain.model, image_width=2 * plain.model.image_width)),
        "depth labels": replace(plain, loss=replace(plain.loss, depth=0.0 if plain.loss.depth else 1.0)),
        "another teacher": replace(taught, distill=replace(taught.distill, teacher="another.safetensors")),
        "a camera teacher": cross_scale_run(data, write_fine_student(tmp_path / "fine.safetensors")),
        "a teacher's training": teacher_run(data),
    }
    for name, other in others.items():
        with pytest.raises(ConfigError, match="must take the same batches"):
            pytest.fail(f"{name}: {reader_of([taught, other])}")
