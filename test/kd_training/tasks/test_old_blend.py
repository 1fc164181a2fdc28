"""What ships of an update lies between the old student's weights and the trained ones; what only the new one has ships
as it was trained."""

from pathlib import Path

import msgspec
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from support.tiny_runs import student_run
from support.updates import write_old_student
from torch import Tensor

from kd_perception.errors import ConfigError, DataError
from kd_perception.geometry.classes import NUSCENES, ClassList, HeadGroup
from kd_perception.student.box_codes import AXIS, VECTOR, Heading
from kd_training.config.continual import ContinualConfig
from kd_training.config.experiment import TrainConfig
from kd_training.models.students import build_student
from kd_training.tasks.old_blend import OldBlend
from kd_training.tasks.update import check_weights

CAR, TRUCK, VAN, BUS, _, BARRIER = NUSCENES.classes[:6]


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> Path:
    return write_old_student(tmp_path_factory.mktemp("old") / "old.safetensors")


def trained_student(frames: int = 1, **model):
    """A new student after some training, batch norms included, as far as a blend can tell."""
    config = student_run(Path("none"), frames=frames)
    for name, value in model.items():
        setattr(config.model, name, value)
    torch.manual_seed(1)
    student = build_student(config.model)
    for value in student.state_dict().values():
        value.copy_(torch.rand_like(value) if value.is_floating_point() else value + 7)
    return student


def classes(*groups: tuple) -> dict:
    return msgspec.to_builtins(ClassList(tuple(HeadGroup(2.0, group) for group in groups)))


def assert_midpoint(blended: Tensor, before: Tensor, after: Tensor) -> None:
    torch.testing.assert_close(blended, (before + after) / 2)
    assert not torch.equal(blended, after)


@settings(max_examples=8, deadline=None)
@given(share=st.floats(0.0, 1.0, exclude_min=True))
def test_every_tensor_goes_the_share_of_its_way(old, share):
    model = trained_student()
    trained, before = model.state_dict(), load_file(old)
    blended = OldBlend(share, model, old, ()).blended(trained)
    assert blended.keys() == trained.keys() == before.keys() and "running_var" in " ".join(blended)
    for name, value in trained.items():
        expected = before[name] + share * (value - before[name]) if value.is_floating_point() else value
        torch.testing.assert_close(blended[name], expected, rtol=1e-5, atol=1e-6)


def test_a_share_of_one_ships_the_trained_weights_bit_by_bit(old):
    model = trained_student()
    blended = OldBlend(1.0, model, old, ()).blended(model.state_dict())
    assert all(torch.equal(value, blended[name]) for name, value in model.state_dict().items())
    assert ContinualConfig().blend_share == 1.0


def test_half_way_lies_the_midpoint_and_neither_end_is_changed(old):
    model, before = trained_student(), load_file(old)
    trained = {name: value.clone() for name, value in model.state_dict().items()}
    blend = OldBlend(0.5, model, old, ())
    for _ in range(2):
        for name, value in blend.blended(model.state_dict()).items():
            if value.is_floating_point():
                assert_midpoint(value, before[name], trained[name])
    assert all(torch.equal(value, trained[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in load_file(old).items())


def test_rows_of_new_classes_ship_as_trained_and_those_of_old_ones_find_theirs(tmp_path):
    """A group joins, a class joins a group, in front of the old ones, and all move."""
    old = write_old_student(tmp_path / "old.safetensors", classes=classes((CAR,), (TRUCK, VAN)))
    model = trained_student(classes=classes((BUS,), (BARRIER, VAN, TRUCK), (CAR,)))
    before, trained = load_file(old), model.state_dict()
    blended = OldBlend(0.5, model, old, ()).blended(trained)
    for kind in ("weight", "bias"):
        grown = f"head.heatmap.1.1.{kind}"
        assert torch.equal(blended[grown][0], trained[grown][0])
        for row, old_row in ((1, 1), (2, 0)):
            assert_midpoint(blended[grown][row], before[grown][old_row], trained[grown][row])
    origins = {"heatmap.1": "heatmap.1", "regression.1": "regression.1", "heatmap.2": "heatmap.0"}
    for new, origin in {**origins, "regression.2": "regression.0"}.items():
        for layer in ("0.0.weight", "0.1.running_var", *(() if new == "heatmap.1" else ("1.weight", "1.bias"))):
            name = f"head.{new}.{layer}"
            assert_midpoint(blended[name], before[f"head.{origin}.{layer}"], trained[name])
    joined = [name for name in trained if name.startswith(("head.heatmap.0.", "head.regression.0."))]
    assert joined and all(torch.equal(blended[name], trained[name]) for name in joined)
    assert_midpoint(blended["head.shared.0.weight"], before["head.shared.0.weight"], trained["head.shared.0.weight"])


def test_a_memory_and_parts_that_begin_at_random_ship_as_trained(old):
    model, before = trained_student(frames=2), load_file(old)
    trained = model.state_dict()
    blended = OldBlend(0.5, model, old, ["encoder"]).blended(trained)
    whole = {name for name in trained if name.startswith(("fusion.", "motion.", "encoder."))}
    assert {name.partition(".")[0] for name in whole} == {"fusion", "motion", "encoder"}
    for name, value in trained.items():
        if name in whole or not value.is_floating_point():
            assert torch.equal(blended[name], value)
        else:
            assert_midpoint(blended[name], before[name], value)


def test_box_codes_of_another_heading_ship_as_trained(old):
    """The old student codes the heading's axis and direction, the new one its vector."""
    model, before = trained_student(heading=Heading.vector), load_file(old)
    trained, name = model.state_dict(), "head.regression.0.1.bias"
    blended = OldBlend(0.5, model, old, ()).blended(trained)
    lacking = set(VECTOR.names) - set(AXIS.names)
    assert 0 < len(lacking) < len(VECTOR.names)
    for place, code in enumerate(VECTOR.names):
        if code in lacking:
            assert blended[name][place] == trained[name][place]
        else:
            unit = AXIS.velocity_unit / VECTOR.velocity_unit if code in VECTOR.names[VECTOR.velocities] else 1.0
            assert_midpoint(blended[name][place], unit * before[name][AXIS.names.index(code)], trained[name][place])


def test_an_old_student_of_another_architecture_is_refused(old):
    with pytest.raises(DataError, match=r"old.safetensors does not fit this model: it has another shape for .*; use"):
        OldBlend(0.5, trained_student(bev_channels=24), old, ())
    with pytest.raises(ConfigError, match="schedule.anew names 'heads', but the model's parts are"):
        OldBlend(0.5, trained_student(), old, ("heads",))


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan"), float("inf")])
def test_a_share_that_is_none_is_refused(share):
    config = TrainConfig(continual=ContinualConfig(blend_share=share))
    with pytest.raises(ConfigError, match="continual.blend_share is .*; give a share above 0 and up to 1"):
        check_weights(config)
