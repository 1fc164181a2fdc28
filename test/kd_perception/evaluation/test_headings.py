"""Axis error and share of turned boxes on known cases, in the metric's table and files."""

from collections.abc import Sequence

import numpy as np
import pytest
from rich.console import Console

from kd_perception.evaluation.center_distance import ScoredSample
from kd_perception.evaluation.headings import HeadingErrors, heading_errors, mean_heading_errors
from kd_perception.evaluation.metric import ClassMetrics, Metrics, TruePositiveErrors
from kd_perception.evaluation.table import metrics_table
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES


def row_of_boxes(class_name: str, yaws: Sequence[float]) -> Boxes:
    """Boxes 5 m apart, of falling scores."""
    count = len(yaws)
    return Boxes(
        center=np.column_stack([5.0 * np.arange(count), np.zeros(count), np.zeros(count)]),
        size=np.ones((count, 3)),
        yaw=np.asarray(yaws, float),
        velocity=np.zeros((count, 2)),
        label=np.full(count, NUSCENES.label(class_name)),
        score=np.linspace(0.9, 0.5, count),
    )


def errors_of(class_name: str, truth: Sequence[float], found: Sequence[float]) -> HeadingErrors:
    boxes, predicted = row_of_boxes(class_name, truth), row_of_boxes(class_name, found)
    sample = ScoredSample(boxes, [""] * len(boxes), predicted, [""] * len(predicted))
    return heading_errors([sample], NUSCENES)[class_name]


@pytest.mark.parametrize("turn", [0.0, 0.2, -0.2, np.pi - 0.2, np.pi + 0.2, 5.0 * np.pi])
def test_a_turn_is_not_an_error_of_the_axis(turn: float):
    yaws = np.linspace(-3.0, 3.0, 8)
    found = errors_of("car", yaws, yaws + turn)
    axis = abs((turn + np.pi / 2.0) % np.pi - np.pi / 2.0)
    assert found.axis == pytest.approx(axis, abs=1e-9)
    assert found.turned == (1.0 if abs(turn) > np.pi / 2.0 else 0.0)


def test_the_share_counts_matched_boxes_only():
    found = errors_of("car", [0.0] * 8, [0.0, 0.0, np.pi, np.pi])
    assert 0.0 < found.turned < 0.6 and found.axis == pytest.approx(0.0, abs=1e-9)
    nothing = errors_of("car", [0.0], [])
    assert np.isnan([nothing.axis, nothing.turned]).all()


def test_a_barrier_has_an_axis_and_a_cone_no_heading():
    barrier, cone = (errors_of(name, [0.0] * 4, [np.pi - 0.1] * 4) for name in ("barrier", "traffic_cone"))
    assert barrier.axis == pytest.approx(0.1) and np.isnan(barrier.turned)
    assert np.isnan([cone.axis, cone.turned]).all()
    mean = mean_heading_errors([barrier, cone, HeadingErrors(0.3, 0.5)])
    assert (mean.axis, mean.turned) == (pytest.approx(0.2), 0.5)


def test_the_table_fits_80_columns_with_the_largest_data_set():
    errors = TruePositiveErrors(0.123, 0.234, 1.345, 12.456, 0.567)
    row = ClassMetrics(187_523, 123_456, 0.345, errors, HeadingErrors(0.123, 1.0))
    console = Console(width=80, record=True)
    console.print(metrics_table(Metrics(0.3, 0.3, errors, dict.fromkeys(NUSCENES.names, row), {})))
    text = console.export_text()
    assert "…" not in text and "construction_vehicle" in text and "100%" in text
