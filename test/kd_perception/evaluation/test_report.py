"""The figures of a run's report."""

import pytest

from kd_perception.evaluation.report import by_stage, make_report, percentiles


def test_a_report_counts_what_was_dropped_and_gives_percentiles() -> None:
    stages = [{"inference": float(i), "total": 2.0 * i} for i in range(1, 101)]
    report = make_report(stages, frames_in=104, model="m@1", engine="openvino")
    assert (report.frames_in, report.frames_answered, report.frames_dropped) == (104, 100, 4)
    assert report.latency_ms["total"] == pytest.approx({"p50": 101.0, "p95": 190.1, "p99": 198.02})
    assert report.latency_ms["inference"]["p50"] == pytest.approx(50.5)


def test_stages_that_some_frames_lack() -> None:
    stages = by_stage([{"wait": 1.0, "total": 5.0}, {"total": 7.0}])
    assert stages == {"wait": [1.0], "total": [5.0, 7.0]}
    assert percentiles({"wait": [1.0], "never": []}) == {"wait": {"p50": 1.0, "p95": 1.0, "p99": 1.0}}


def test_no_processed_frame_gives_no_latency() -> None:
    empty = make_report([], frames_in=5, model="m", engine="e")
    assert (empty.frames_answered, empty.frames_dropped, empty.latency_ms) == (0, 5, {})
