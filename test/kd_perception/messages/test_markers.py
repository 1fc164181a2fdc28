"""Markers obey RViz 2's rules (rviz_default_plugins, displays/marker): what it would show, and no complaint."""

import math

import numpy as np
import pytest

from kd_perception.bags.messages import BAG
from kd_perception.drawing.style import GROUND_TRUTH_COLOR
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES
from kd_perception.messages.markers import ADD, ARROW, CUBE, DELETEALL, LINE_LIST, TEXT_VIEW_FACING, MarkerFrame

FRAME = MarkerFrame(BAG, "base_link", 1_700_000_000_123_456_789)
BOXES = Boxes(
    center=np.array([[5.0, 1.0, 0.5], [-3.0, 2.0, 1.0], [9.0, -4.0, 0.2]]), size=np.array([[4.0, 2.0, 1.5]] * 3),
    yaw=np.array([0.1, -2.0, 3.0]), velocity=np.array([[2.0, 0.0], [0.0, 0.0], [np.nan, np.nan]]),
    label=np.array([0, 8, 9]), score=np.array([0.9, 0.5, 0.3]),
)  # fmt: skip
MADE = {"detections": FRAME.detections, "ground truth": FRAME.ground_truth}


def shown(messages):
    """What RViz shows after these arrays, by (namespace, id): DELETEALL of a namespace leaves the others."""
    scene = {}
    for marker in (marker for message in messages for marker in message.markers):
        if marker.action == DELETEALL:
            scene = {key: kept for key, kept in scene.items() if marker.ns and key[0] != marker.ns}
        else:
            assert marker.action == ADD
            scene[marker.ns, marker.id] = marker
    return scene


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_two_markers_of_an_array_share_namespace_and_id(name, count):
    keys = [(marker.ns, marker.id) for marker in MADE[name](BOXES[:count]).markers]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("later", [BOXES[:0], BOXES[1:2], BOXES], ids=["no box", "one still box", "the same"])
def test_a_message_removes_what_the_last_one_left(name, later):
    make = MADE[name]
    assert shown([make(BOXES), make(later)]).keys() == shown([make(later)]).keys()


@pytest.mark.parametrize("name", MADE)
def test_rviz_finds_nothing_to_complain_about(name):
    for marker in shown([MADE[name](BOXES)]).values():
        scale = (marker.scale.x, marker.scale.y, marker.scale.z)
        orientation = marker.pose.orientation
        assert math.hypot(orientation.x, orientation.y, orientation.z, orientation.w) == pytest.approx(1.0)
        assert marker.color.a > 0.0 and math.isfinite(sum(scale))
        assert all(math.isfinite(value) for point in marker.points for value in (point.x, point.y, point.z))
        if marker.type == CUBE:
            assert min(scale) > 0.0
        elif marker.type == LINE_LIST:
            assert marker.scale.x > 0.0 and len(marker.points) % 2 == 0
        elif marker.type == ARROW:
            assert len(marker.points) == 2 and marker.scale.x > 0.0
        else:
            assert marker.type == TEXT_VIEW_FACING and marker.scale.z > 0.0 and marker.text


def test_detections_are_translucent_cubes_in_their_class_colour():
    cubes = [marker for marker in FRAME.detections(BOXES).markers if marker.ns == "boxes"]
    assert {cube.type for cube in cubes} == {CUBE} and all(0.0 < cube.color.a < 1.0 for cube in cubes)
    colours = [tuple(round(255 * c) for c in (cube.color.r, cube.color.g, cube.color.b)) for cube in cubes]
    assert colours == [NUSCENES.classes[label].color for label in BOXES.label]


def test_the_ground_truth_is_outlines_along_the_edges():
    outlines = shown([FRAME.ground_truth(BOXES)])
    assert len(outlines) == len(BOXES) and {marker.type for marker in outlines.values()} == {LINE_LIST}
    for index, marker in enumerate(outlines.values()):
        ends = np.array([[point.x, point.y, point.z] for point in marker.points]).reshape(-1, 2, 3)
        lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        np.testing.assert_allclose(np.sort(lengths), np.repeat(np.sort(BOXES.size[index]), 4))
        np.testing.assert_allclose(ends.reshape(-1, 3).mean(axis=0), BOXES.center[index])
        assert len(np.unique(ends.reshape(-1, 3).round(9), axis=0)) == 8
        assert [round(255 * c) for c in (marker.color.r, marker.color.g, marker.color.b)] == list(GROUND_TRUTH_COLOR)
