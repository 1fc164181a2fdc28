"""Rectangles overlap as polygons do; boxes hold the points that their own axes say."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_perception.geometry.box_geometry import (
    Rectangles,
    count_points_in_boxes,
    offsets_in_box,
    rectangles_overlap,
)
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.transforms import apply, invert, make_transform, quaternion_from_yaw

FEW = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def some_boxes(rng: np.random.Generator, count: int) -> Boxes:
    return Boxes(
        center=rng.uniform(-8, 8, (count, 3)),
        size=rng.uniform(0.5, 8, (count, 3)),
        yaw=rng.uniform(-4, 4, count),
        velocity=np.zeros((count, 2)),
        label=np.zeros(count, np.int64),
        score=np.ones(count),
    )


def polygons(boxes: Boxes) -> np.ndarray:
    return shapely.polygons(boxes.corners()[:, :4, :2])


def pairs(first: Boxes, second: Boxes, margin: float = 0.0) -> np.ndarray:
    return rectangles_overlap(Rectangles.of(first)[:, None], Rectangles.of(second)[None], margin)


@FEW
@given(seeds)
def test_overlap_is_that_of_polygons_and_symmetric(seed) -> None:
    rng = np.random.default_rng(seed)
    first, second = some_boxes(rng, 12), some_boxes(rng, 9)
    area = shapely.area(shapely.intersection(polygons(first)[:, None], polygons(second)[None]))
    clear = (area == 0.0) | (area > 1e-6)  # what touches within rounding may count either way
    np.testing.assert_array_equal(pairs(first, second)[clear], (area > 0.0)[clear])
    np.testing.assert_array_equal(pairs(first, second), pairs(second, first).T)


@FEW
@given(seeds, st.floats(0.01, 2.0))
def test_a_margin_covers_at_least_the_distance_and_at_most_its_diagonal(seed, margin) -> None:
    rng = np.random.default_rng(seed)
    first, second = some_boxes(rng, 12), some_boxes(rng, 9)
    apart = shapely.distance(polygons(first)[:, None], polygons(second)[None])
    close = pairs(first, second, margin)
    assert close[apart < margin - 1e-6].all()
    assert not close[apart > np.sqrt(2.0) * margin + 1e-6].any()


@pytest.mark.parametrize(
    ("xy", "yaw", "touches"),
    [
        ((3.0, 0.0), 0.0, True),  # two 4 x 2 rectangles, 3 m apart along their length
        ((4.4, 0.0), 0.0, False),
        ((0.0, 2.1), 0.0, False),
        ((0.0, 2.5), np.pi / 2, True),  # turned: reaches 2 m across
        ((3.2, 1.9), np.pi / 4, True),
        ((4.0, 2.9), np.pi / 4, False),
        ((4.0, 0.0), 0.0, False),  # a shared edge is no overlap
    ],
)
def test_two_tracks_overlap_at_the_step_at_which_they_meet(xy, yaw, touches) -> None:
    size = np.array((4.0, 2.0))
    first = Rectangles(np.zeros((3, 2)), size, np.zeros(3))
    second = Rectangles(np.array([(50.0, 50.0), xy, (50.0, 50.0)]), size, np.full(3, yaw))
    standing = Rectangles(np.zeros((1, 2)), size, np.zeros(1))
    for one, other in ((first, second), (second, first), (standing, second)):
        assert rectangles_overlap(one, other).tolist() == [False, touches, False]


def test_nothing_overlaps_with_nothing() -> None:
    boxes = some_boxes(np.random.default_rng(0), 3)
    assert pairs(boxes, Boxes.empty()).shape == (3, 0)
    assert pairs(Boxes.empty(), boxes).shape == (0, 3)


@FEW
@given(seeds)
def test_points_are_in_a_box_if_its_own_frame_says_so(seed) -> None:
    rng = np.random.default_rng(seed)
    boxes, points = some_boxes(rng, 6), rng.uniform(-10, 10, (400, 3))
    expected = []
    for center, size, yaw in zip(boxes.center, boxes.size, boxes.yaw, strict=True):
        box_from_world = invert(make_transform(quaternion_from_yaw(yaw), center))
        held = (np.abs(apply(box_from_world, points)) <= size / 2.0).all(axis=1)
        np.testing.assert_array_equal(offsets_in_box(points - center, size, yaw), held)
        expected.append(held.sum())
    assert count_points_in_boxes(points, boxes.center, boxes.size, boxes.yaw).tolist() == expected


def test_points_are_counted_in_turned_boxes_sides_included() -> None:
    points = np.array([(0, 0, 0), (1.9, 0, 0), (2.0, 0, 0), (2.1, 0, 0), (0, 1.9, 0), (0, 0, 0.6), (10, 10, 0)], float)
    center, size = np.zeros((3, 3)), np.tile((4.0, 2.0, 1.0), (3, 1))
    center[2] = (10, 10, 0)
    counts = count_points_in_boxes(points, center, size, np.array([0.0, np.pi / 2, 0.3]))
    assert counts.tolist() == [3, 2, 1]
    assert count_points_in_boxes(points[:0], center, size, np.zeros(3)).tolist() == [0, 0, 0]
    assert count_points_in_boxes(points, center[:0], size[:0], np.zeros(0)).shape == (0,)
