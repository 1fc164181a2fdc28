"""The detector's time outside the engine: measured on every case, on the classes that the node runs."""

import pytest
from support.fake_student import TEMPORAL_SPEC, write_fake_student
from support.nuscenes_tables import VERSION, write_dataset

from kd_bench.dataset_frames import BenchFrame, read_frames
from kd_perception.errors import DataError
from kd_perception.student.spec import load_student

pytest.importorskip("rclpy", reason="the messages need the ROS packages")
from kd_bench.stages.outside_engine import (  # noqa: E402 - only where ROS is
    CASES,
    HEADINGS,
    STAGES,
    TrafficCase,
    measure_outside_engine,
    overhead_rows,
)


def test_every_stage_of_every_case_is_timed_on_every_frame(tmp_path):
    student = load_student(write_fake_student(tmp_path / "student.onnx", TEMPORAL_SPEC))
    frames = read_frames(write_dataset(tmp_path / "painted", samples=2), VERSION, 2)
    measured = {case: measure_outside_engine(student, frames, case, 3) for case in CASES}
    assert {(case.transport, case.moving) for case in measured} == {
        ("compressed", False), ("compressed", True), ("raw", False), ("raw", True),
    }  # fmt: skip
    for times in measured.values():
        assert len(times) == 3 and all(tuple(frame) == STAGES for frame in times)
        assert all(frame[stage] > 0.0 for frame in times for stage in STAGES)
    rows = overhead_rows(measured)
    assert all(len(row) == len(HEADINGS) for row in rows)
    assert [row[:2] for row in rows] == [(c.transport, "moves" if c.moving else "stands") for c in CASES]


def test_frames_that_lack_a_camera_are_not_measured(tmp_path):
    student = load_student(write_fake_student(tmp_path / "student.onnx"))
    with pytest.raises(DataError, match="no frame has an image of every camera"):
        measure_outside_engine(student, [BenchFrame((), (None,))], TrafficCase("raw", moving=False), 1)
