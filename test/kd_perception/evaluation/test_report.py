"""report.json and what feeds it."""

import json
import subprocess
from pathlib import Path

import pytest

from kd_perception.evaluation import report
from kd_perception.evaluation.report import by_stage, commit, make_report, percentiles, write_report


def test_report_has_the_agreed_fields_and_further_runs_under_their_names(tmp_path) -> None:
    stages = [{"inference": float(i), "total": 2.0 * i} for i in range(1, 101)]
    lockstep = make_report(3, 0, stages[:3], "m@1", "openvino")
    write_report(tmp_path / "report.json", make_report(104, 4, stages, "m@1", "openvino"), lockstep=lockstep)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written.pop("lockstep")["frames_in"] == 3
    assert set(written) == {"frames_in", "frames_answered", "frames_dropped", "latency_ms", "model", "engine", "commit"}
    assert (written["frames_in"], written["frames_answered"], written["frames_dropped"]) == (104, 100, 4)
    assert written["latency_ms"]["total"] == pytest.approx({"p50": 101.0, "p95": 190.1, "p99": 198.02})
    assert written["latency_ms"]["inference"]["p50"] == pytest.approx(50.5)


def test_stages_that_some_frames_lack() -> None:
    stages = by_stage([{"wait": 1.0, "total": 5.0}, {"total": 7.0}])
    assert stages == {"wait": [1.0], "total": [5.0, 7.0]}
    assert percentiles({"wait": [1.0], "never": []}) == {"wait": {"p50": 1.0, "p95": 1.0, "p99": 1.0}}


def test_no_answered_frame_gives_no_latency() -> None:
    empty = make_report(5, 5, [], "m", "e")
    assert (empty.frames_answered, empty.latency_ms) == (0, {})


def test_commit_is_the_checkouts(monkeypatch) -> None:
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=Path(report.__file__).parent, capture_output=True, text=True, check=False).stdout
    if head:
        assert head.startswith(commit().rstrip("+"))
    monkeypatch.setenv("PATH", "")  # no git
    assert commit() == "unknown"
