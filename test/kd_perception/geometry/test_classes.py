"""Class lists: the shipped one is nuScenes'; what cannot be used is refused in a sentence that names file and key."""

import msgspec
import numpy as np
import pytest
import yaml
from nuscenes.eval.detection.config import config_factory
from nuscenes.eval.detection.constants import DETECTION_NAMES
from nuscenes.eval.detection.utils import category_to_detection_name

from kd_perception.errors import ConfigError
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES, ClassList, HeadGroup, read_classes
from kd_perception.resources import resource

YARD = """
groups:
- nms_radius: 1.5
  classes:
  - {name: forklift, color: [255, 120, 0], range: 30, categories: [yard.forklift], moving: on, still: off}
  - {name: pallet, color: [200, 200, 90], range: 20, categories: [yard.pallet, yard.crate], heading: axis, moves: false}
- nms_radius: 0.4
  classes:
  - {name: person, color: [90, 255, 120], range: 25, categories: [human]}
"""


def test_the_shipped_list_is_nuscenes_own() -> None:
    assert read_classes(resource("config/classes/nuscenes.yaml")) == NUSCENES
    assert sorted(NUSCENES.names) == sorted(DETECTION_NAMES)
    ranges = config_factory("detection_cvpr_2019").class_range
    assert {kind.name: kind.range for kind in NUSCENES.classes} == ranges
    for category, label in NUSCENES.label_of_category.items():
        assert category_to_detection_name(category) == NUSCENES.names[label]
    assert len(NUSCENES.label_of_category) == 14


def test_labels_go_group_by_group(tmp_path) -> None:
    (tmp_path / "yard.yaml").write_text(YARD.replace("moving: on, still: off", "moving: 'on', still: 'off'"))
    yard = read_classes(tmp_path / "yard.yaml")
    assert yard.names == ("forklift", "pallet", "person") and yard.group_of_label.tolist() == [0, 0, 1]
    assert yard.label_of_category == {"yard.forklift": 0, "yard.pallet": 1, "yard.crate": 1, "human": 2}
    forklift, pallet, person = yard.classes
    assert (forklift.attribute(2.0), forklift.attribute(0.1), person.attribute(2.0)) == ("on", "off", "")
    assert not pallet.moves and pallet.heading == "axis" and not person.has_attributes
    assert msgspec.convert(yaml.safe_load(yaml.safe_dump(msgspec.to_builtins(yard))), ClassList) == yard


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("groups:", "group:"), r"missing required field `groups`"),
        (("range: 30, ", ""), r"missing required field `range`"),
        (("heading: axis", "heading: sideways"), r"Invalid enum value 'sideways'.*classes\[1\]\.heading"),
        (("heading: axis", "headings: axis"), r"unknown key 'groups\.0\.classes\.1\.headings'"),
        (("name: pallet", "name: forklift"), "class 'forklift' stands there twice"),
        (("yard.crate", "yard.forklift"), "category 'yard.forklift' stands there twice"),
        (("range: 30", "range: -1"), "range -1.0 of class forklift is no distance"),
        (("[255, 120, 0]", "[255, 120, 300]"), r"color \[255, 120, 300\] of class forklift is not RGB"),
        (("[human]", "[]"), "class 'person' needs a name and at least one category"),
        (("nms_radius: 1.5", "nms_radius: -2"), "nms_radius -2.0 of the group of forklift is no length"),
        ((YARD, "groups: []"), "at least one group"),
        ((YARD, "- car"), "is no mapping with groups"),
        ((YARD, "{"), "is no YAML"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, change: tuple[str, str], sentence: str) -> None:
    path = tmp_path / "yard.yaml"
    path.write_text(YARD.replace("on, still: off", "'on', still: 'off'").replace(*change))
    if change[0] == YARD:
        path.write_text(change[1])
    with pytest.raises(ConfigError, match=rf"yard\.yaml.*{sentence}"):
        read_classes(path)
    with pytest.raises(ConfigError, match=r"absent\.yaml cannot be read"):
        read_classes(tmp_path / "absent.yaml")


def test_boxes_of_different_lists_are_not_put_together() -> None:
    others = ClassList((HeadGroup(1.0, NUSCENES.classes[:2]),))
    mine, theirs = Boxes.empty(), Boxes.empty(others)
    assert Boxes.concatenate([theirs, theirs]).classes is others and Boxes.concatenate([], others).classes is others
    assert theirs[np.zeros(0, bool)].transformed(np.eye(4)).classes is others
    with pytest.raises(ValueError, match="different class lists"):
        Boxes.concatenate([mine, theirs])


def test_classes_that_nobody_described_stand_behind_the_others() -> None:
    grown = NUSCENES.with_others(["tram", "sledge"])
    assert grown.names == (*NUSCENES.names, "tram", "sledge") and grown.classes[-1].range == NUSCENES.ranges.max()
    assert NUSCENES.with_others([]) is NUSCENES
    grown.check("grown")
