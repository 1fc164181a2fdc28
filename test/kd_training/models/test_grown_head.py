"""A head that learns more classes goes on giving its old ones exactly as before, wherever they stand now."""

from dataclasses import replace

import pytest
import torch

from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import NUSCENES, ClassList, HeadGroup
from kd_perception.student.box_codes import AXIS
from kd_training.models.center_head import HEATMAP_BIAS, CenterHead
from kd_training.models.grown_head import grown_weights

CAR, TRUCK, VAN, BUS, TRAILER, BARRIER = NUSCENES.classes[:6]


def classes(*groups: tuple) -> ClassList:
    return ClassList(tuple(HeadGroup(2.0, group) for group in groups))


def grown(old: ClassList, new: ClassList) -> tuple[CenterHead, CenterHead]:
    torch.manual_seed(0)
    before, after = (CenterHead(8, 8, 4, entry, AXIS) for entry in (old, new))
    after.load_state_dict(grown_weights(before.state_dict(), old, new, after))
    return before.eval(), after.eval()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (classes((CAR,), (TRUCK,)), classes((CAR,), (TRUCK,), (BUS, TRAILER))),  # a group joins
        (classes((CAR,), (TRUCK,)), classes((BUS,), (VAN, TRUCK), (CAR,))),  # a class joins a group, all move
        (classes((CAR, TRUCK)), classes((TRUCK,), (BUS, CAR))),  # a group is taken apart
        (classes((CAR,), (TRUCK, VAN)), classes((VAN, BARRIER, TRUCK), (CAR,))),
    ],
)
def test_outputs_of_old_classes_stay_what_they_were(old, new):
    before, after = grown(old, new)
    bev = torch.randn(2, 8, 6, 5)
    (old_heatmap, old_codes), (new_heatmap, new_codes) = before(bev), after(bev)
    for label, name in enumerate(old.names):
        place = new.label(name)
        torch.testing.assert_close(new_heatmap[:, place], old_heatmap[:, label], rtol=0, atol=0)
        groups = new.group_of_label[place], old.group_of_label[label]
        torch.testing.assert_close(new_codes[:, groups[0]], old_codes[:, groups[1]], rtol=0, atol=0)
    for label, name in enumerate(new.names):
        if name not in old.names:
            group = new.group_of_label[label]
            row = [entry.name for entry in new.groups[group].classes].index(name)
            assert after.heatmap[group][-1].bias[row] == torch.tensor(HEATMAP_BIAS)


def test_the_same_classes_are_taken_as_they_are():
    torch.manual_seed(0)
    head = CenterHead(8, 8, 4, NUSCENES, AXIS)
    given = {name: value + 1 for name, value in head.state_dict().items()}
    assert grown_weights(given, NUSCENES, replace(NUSCENES), head) is given


def test_classes_of_two_groups_cannot_share_one():
    with pytest.raises(ConfigError, match="joins car, truck in one head group, but the old student has them in 2"):
        grown(classes((CAR,), (TRUCK,)), classes((CAR, TRUCK)))
