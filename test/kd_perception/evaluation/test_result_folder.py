"""The JSON files of a result folder: written, read back, and refused when they are another file."""

import json
from dataclasses import replace

import pytest

from kd_perception.errors import DataError
from kd_perception.evaluation.result_folder import RunReport, StatusRow, read_statuses, read_summary
from kd_perception.geometry.classes import CLASSES

REPORT = RunReport(104, 100, 4, {"total": {"p50": 1.0, "p95": 2.0, "p99": 3.0}}, "m@1", "openvino", "abc")
STATUS = StatusRow(
    stamp_ns=7, outcome="answered", reason="", stage_ms={"total": 1.5}, camera_age_ms={"left": None, "right": -3.0},
    missing_cameras=["left"], memory_state="none", reset_reason="", model="m", engine="openvino",
)  # fmt: skip
SUMMARY = {
    "mean_ap": 0.25,
    "nd_score": 0.3,
    "mean_dist_aps": dict.fromkeys(CLASSES, 0.25),
    "tp_errors": {"trans_err": 0.5},
    "label_tp_errors": {"barrier": {"vel_err": float("nan")}},  # what the devkit writes besides
}


def test_a_report_has_the_agreed_fields_and_the_lockstep_run_if_there_is_one() -> None:
    fields = {"frames_in", "frames_answered", "frames_dropped", "latency_ms", "model", "engine", "commit"}
    assert set(json.loads(REPORT.to_json())) == fields
    both = json.loads(replace(REPORT, lockstep=replace(REPORT, frames_in=100)).to_json())
    assert set(both) == fields | {"lockstep"}
    assert set(both["lockstep"]) == fields and both["lockstep"]["frames_in"] == 100


def test_statuses_round_trip(tmp_path) -> None:
    path = tmp_path / "status.jsonl"
    path.write_text(f"{STATUS.to_json()}\n{STATUS.to_json()}\n")
    assert read_statuses(path) == [STATUS, STATUS]
    assert json.loads(STATUS.to_json())["camera_age_ms"] == {"left": None, "right": -3.0}


@pytest.mark.parametrize("text", ['{"stamp_ns": 7', "{}", STATUS.to_json().replace("7", '"7"')])
def test_a_damaged_status_file_is_named(tmp_path, text) -> None:
    (tmp_path / "status.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"status\.jsonl, which the evaluator node writes, cannot be read"):
        read_statuses(tmp_path / "status.jsonl")


def test_a_summary_gives_scores_and_ap(tmp_path) -> None:
    path = tmp_path / "metrics_summary.json"
    path.write_text(json.dumps(SUMMARY))
    summary = read_summary(path)
    assert (summary.mean_ap, summary.nd_score, summary.mean_dist_aps["bus"]) == (0.25, 0.3, 0.25)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"mean_ap": "high"}, r"is no metrics_summary\.json .*`\$\.mean_ap`"),
        ({"mean_dist_aps": {}}, "has no AP of any class"),
    ],
)
def test_another_summary_is_refused(tmp_path, change, sentence) -> None:
    path = tmp_path / "metrics_summary.json"
    path.write_text(json.dumps(SUMMARY | change))
    with pytest.raises(DataError, match=rf"metrics_summary\.json {sentence}"):
        read_summary(path)
    with pytest.raises(DataError, match="does not exist"):
        read_summary(tmp_path / "absent.json")
