"""Where an update hears its old student: everywhere, or only where nobody labelled."""

import pytest
import torch
from support.distillation import STUDENT_CHANNELS, random_outputs
from support.fake_student import SPEC

from kd_perception.geometry.classes import CLASSES
from kd_training.batches.processes import ALONE
from kd_training.config.continual import ContinualConfig
from kd_training.config.old_student import KeepConfig
from kd_training.distill.from_old.keeping import Keeping

REPLAYED = torch.tensor([False, True])


@pytest.mark.parametrize(
    ("labelled", "where_labelled", "heard"),
    [
        ([], True, [True, True]),
        ([], False, [False, True]),
        (["car"], False, [True, True]),  # for the other nine classes
    ],
)
def test_where_the_old_student_is_heard(labelled, where_labelled, heard):
    keep = KeepConfig(where_labelled=where_labelled, foreground=0.02)
    keeping = Keeping(ContinualConfig(keep=keep, labelled=labelled), SPEC, SPEC)
    old, new = (random_outputs(seed, 2, STUDENT_CHANNELS, gradient=True) for seed in (1, 2))
    old = old.map(torch.Tensor.detach)
    keeping.losses(new, old, REPLAYED, ALONE)["kept/heatmap"].backward()
    assert [bool(new.heatmap.grad[rig].any()) for rig in range(2)] == heard
    if labelled:
        assert not new.heatmap.grad[0, CLASSES.index("car")].any() and new.heatmap.grad[1, CLASSES.index("car")].any()
