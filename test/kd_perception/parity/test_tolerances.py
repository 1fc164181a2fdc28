"""When two computations agree, by known cases."""

from dataclasses import replace

import numpy as np
import pytest

from kd_perception.geometry.boxes import Boxes
from kd_perception.parity.tolerances import have_partner, raw_errors


def boxes(count: int = 3) -> Boxes:
    return Boxes(
        center=np.column_stack([np.arange(count) * 8.0 + 0.5, np.full(count, 3.5), np.ones(count)]),
        size=np.tile([4.0, 2.0, 1.5], (count, 1)),
        yaw=np.linspace(3.14, -3.14, count),
        velocity=np.zeros((count, 2)),
        label=np.zeros(count, np.int64),
        score=np.full(count, 0.6),
    )


@pytest.mark.parametrize(
    ("change", "matches"),
    [
        ({}, True),
        ({"center": boxes().center + [0.009, 0.0, 0.0]}, True),
        ({"center": boxes().center + [0.008, 0.008, 0.0]}, False),
        ({"yaw": boxes().yaw + np.radians(0.09)}, True),  # also across +-180 degrees
        ({"yaw": boxes().yaw + np.radians(0.11)}, False),
        ({"score": boxes().score - 0.0049}, True),
        ({"score": boxes().score - 0.0051}, False),
        ({"label": boxes().label + 1}, False),
    ],
)
def test_partners_lie_within_every_tolerance(change: dict, matches: bool):
    assert have_partner(boxes(), replace(boxes(), **change)).tolist() == [matches] * 3
    assert not have_partner(boxes(), Boxes.empty()).any()


def test_raw_errors_are_relative_above_one():
    reference = {"heatmap": np.array([0.0, 0.5]), "regression": np.array([100.0, -1.0])}
    found = raw_errors({"heatmap": np.array([0.001, 0.5]), "regression": np.array([100.2, -1.0])}, reference)
    assert found["heatmap"] == pytest.approx(0.001) and found["regression"] == pytest.approx(0.002)
    assert (
        raw_errors({"heatmap": np.array([np.nan, 0.5]), "regression": np.array([100.0, -1.0])}, reference)["heatmap"]
        == np.inf
    )
