"""The bird's-eye view shows boxes and points where they are."""

import numpy as np
import pytest
from support.painted import box, color_of, painted

from kd_perception.drawing.bird_eye import draw_bev
from kd_perception.drawing.style import GROUND_TRUTH_COLOR, MISSED_COLOR
from kd_perception.geometry.boxes import Boxes


def test_birds_eye_view_has_forward_up_and_left_left() -> None:
    size, extent = 400, 40.0
    for (x, y), name in (((20.0, 0.0), "car"), ((0.0, 20.0), "bus"), ((-15.0, -25.0), "pedestrian")):
        pixels = painted(draw_bev(box(x, y, name=name), extent=extent, size=size)[:, 60:], color_of(name)) + [
            60,
            0,
        ]  # without the legend
        np.testing.assert_allclose(pixels.mean(axis=0), [(extent - y) * 5.0, (extent - x) * 5.0], atol=2.5)


def test_velocity_arrow_reaches_the_next_second() -> None:
    picture = draw_bev(box(0.0, -20.0, name="car", velocity=(12.0, 0.0)), extent=40.0, size=400)
    pixels = painted(picture[:, 60:], color_of("car"), tolerance=150) + [60, 0]
    assert pixels[:, 1].min() == pytest.approx((40.0 - 12.0) * 5.0, abs=3)


def test_points_are_drawn_where_they_are_and_bad_ones_left_out() -> None:
    points = np.array([[30.0, -10.0, 2.5, 0.1], [np.nan, 0.0, 0.0, 0.0], [500.0, 0.0, 0.0, 0.0]])
    empty, drawn = (
        draw_bev(Boxes.empty(), extent=40.0, size=400),
        draw_bev(Boxes.empty(), points=points, extent=40.0, size=400),
    )
    rows, columns = np.nonzero((empty != drawn).any(axis=2))
    assert (rows.tolist(), columns.tolist()) == ([50], [250])


def test_missed_ground_truth_is_red_and_found_ground_truth_white() -> None:
    ground_truth = Boxes.concatenate([box(20.0, -20.0), box(-20.0, -20.0)])
    picture = draw_bev(Boxes.empty(), ground_truth=ground_truth, extent=40.0, size=400, missed=np.array([True, False]))[
        :, 100:
    ]
    for color, row in ((MISSED_COLOR, 100.0), (GROUND_TRUTH_COLOR, 300.0)):
        pixels = painted(picture, color)
        np.testing.assert_allclose(pixels.mean(axis=0), [200.0, row], atol=2.5)
