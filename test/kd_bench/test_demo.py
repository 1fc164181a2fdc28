"""`kd demo` from rendering to report, in small, and interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rosbags.rosbag2 import Reader
from support.fake_student import write_fake_student

from kd_bench.demo import demo
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.evaluation.metric import evaluate_results

pytest.importorskip("rclpy", reason="rclpy is not installed: the node graph cannot run")
pytest.importorskip("embreex", reason="embreex is not installed: no scene can be rendered")
pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The folder of a demo that came to its end, with the middleware's profile that ships."""
    out = tmp_path_factory.mktemp("finished") / "demo"
    student = write_fake_student(out.parent / "fake.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FASTDDS_DEFAULT_PROFILES_FILE")
        demo(out=out, student=student, engine="onnxruntime", scenes=1, frames=3)
    return out


def test_demo_leaves_scores_report_pictures_and_detections(finished) -> None:
    out = finished
    report = json.loads((out / "report.json").read_text())
    assert (report["lockstep"]["frames_in"], report["lockstep"]["frames_answered"]) == (3, 3)
    assert report["frames_in"] == 3 == report["frames_answered"] + report["frames_dropped"]
    assert report["engine"] == "onnxruntime" and report["model"].startswith("painted")
    assert {"p50", "p95", "p99"} == set(report["latency_ms"]["total"])

    (dataroot,) = (out / "data").iterdir()
    nusc = open_nuscenes(dataroot, SYNTHETIC_VERSION)
    summary = json.loads((out / "metrics_summary.json").read_text())
    assert evaluate_results(nusc, out / "results_nusc.json").nds == summary["nd_score"]

    (scene,) = scene_names(nusc)
    with Reader(out / "detections" / scene) as reader:
        counts = {connection.msgtype: connection.msgcount for connection in reader.connections}
    assert counts["kd_msgs/msg/Detection3DArray"] == 3
    assert (out / "report.html").read_text().count("data:image/") == 6  # cameras and bird's-eye view of three samples
    assert len(list((out / "pictures").glob("*.jpg"))) == 3


def test_sigterm_while_the_graph_runs_ends_every_process_and_writes_no_report(finished, tmp_path) -> None:
    out = tmp_path / "demo"
    shutil.copytree(finished / "data", out / "data")  # what an earlier demo rendered
    student = write_fake_student(tmp_path / "fake.onnx")
    arguments = ["--out", out, "--student", student, "--engine", "onnxruntime", "--scenes", "1", "--frames", "3"]
    process = subprocess.Popen(
        [sys.executable, "-m", "kd_perception.cli", "demo", *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and not list(out.glob("lockstep/*/logs/replay.log")):
        time.sleep(0.02)  # until the last node has been started
    os.killpg(process.pid, signal.SIGTERM)  # as supervisors do
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert not (out / "report.json").exists() and not (out / "report.html").exists()
    assert processes_that_mention(tmp_path) == []


def processes_that_mention(path: Path) -> list[str]:
    """Command lines of running processes that contain `path`."""
    lines = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it has ended meanwhile
    return [line for line in lines if str(path) in line]
