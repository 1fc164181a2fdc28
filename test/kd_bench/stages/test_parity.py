"""Engines give PyTorch's answers: the measure by known cases, and the shipped students over a few frames.

`kd bench parity` measures fifty frames. A few have hundreds of boxes, and cameras that are missing, too.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from support.made_once import made_once

from kd_bench.dataset_frames import BenchFrame, count_missing, read_frames, render_frames
from kd_bench.stages.parity import Parity, count_matches, measure_parity
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import NUSCENES
from kd_perception.geometry.grid import BevGrid
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, SHIPPED_STUDENT, resource
from kd_perception.student.box_codes import AXIS
from kd_perception.student.spec import load_student

RENDERED, FRAMES = 2, 4
GRID = BevGrid(-32.0, 32.0, -32.0, 32.0, 1.0)


class SpecOnly:
    """As much of a student as decoding needs."""

    class spec:  # noqa: N801
        grid = GRID
        classes = NUSCENES
        coding = AXIS


def boxes(count: int = 3) -> Boxes:
    return Boxes(
        center=np.column_stack([np.arange(count) * 8.0 + 0.5, np.full(count, 3.5), np.ones(count)]),
        size=np.tile([4.0, 2.0, 1.5], (count, 1)),
        yaw=np.linspace(3.14, -3.14, count),
        velocity=np.zeros((count, 2)),
        label=np.zeros(count, np.int64),
        score=np.full(count, 0.6),
    )


def outputs(truth: Boxes) -> dict[str, np.ndarray]:
    heatmap = np.zeros((10, *GRID.shape), np.float32)
    regression = np.zeros((len(NUSCENES.groups), len(AXIS.names), *GRID.shape), np.float32)
    columns, rows = np.floor(GRID.to_cells(truth.center[:, :2])).astype(int).T
    heatmap[truth.label, rows, columns] = truth.score
    regression[NUSCENES.group_of_label[truth.label], :, rows, columns] = AXIS.encode(truth, rows, columns, GRID)
    return {"heatmap": heatmap, "regression": regression}


def test_a_box_at_the_threshold_is_no_difference():
    """One side sees it at .1001, the other at .0999: a partner is looked for below the threshold, too."""
    first, second = (replace(boxes(), score=np.array([0.6, 0.6, score])) for score in (0.1001, 0.0999))
    assert count_matches(SpecOnly, outputs(first), outputs(second)) == (5, 5)


def test_a_lost_box_counts():
    assert count_matches(SpecOnly, outputs(boxes()), outputs(boxes()[:2])) == (5, 4)
    assert count_matches(SpecOnly, outputs(boxes()[:2]), outputs(boxes())) == (5, 4)


def test_what_passes():
    good = Parity("engine", 1, {"heatmap": 1e-3, "regression": 1e-6}, 1000, 999)
    assert good.passed and good.matched_share == 0.999
    assert not replace(good, matched=998).passed
    assert not replace(good, raw_error={"heatmap": 1.1e-3, "regression": 0.0}).passed
    assert replace(good, detections=0, matched=0).passed


@pytest.fixture(scope="module")
def frames(request: pytest.FixtureRequest) -> list[BenchFrame]:
    return read_frames(made_once(request, "parity", partial(render_frames, frames=RENDERED)), SYNTHETIC_VERSION, FRAMES)


@pytest.mark.slow
@pytest.mark.parametrize("student", [SHIPPED_STUDENT, SHIPPED_SINGLE_FRAME_STUDENT])
def test_shipped_students_answer_alike_in_every_engine(student: str, frames: list[BenchFrame]):
    assert len(frames) == FRAMES and count_missing(frames) == FRAMES - RENDERED
    for result in measure_parity(load_student(resource(student)), frames, ["openvino", "onnxruntime"]):
        assert result.frames == FRAMES and result.detections > 200
        assert result.passed, result
