"""The tutorial of docs/own_data.md: its files and commands, as written, on a small rendered robot of four cameras."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.checkout import ROOT
from support.domains import free_domain
from support.labels_of_tables import write_labels
from support.tiny_runs import HEAD, NARROW
from typer.testing import CliRunner

from kd_perception.bags.nuscenes_bag import BagOptions, write_scene
from kd_perception.cli import app
from kd_perception.datasets.nuscenes import open_nuscenes, scene_names
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.imports.bag_labels import read_bag_labels
from kd_perception.student.spec import load_student
from kd_synthetic.dataset.generate import SynthConfig, generate

pytest.importorskip("rclpy", reason="rclpy is not installed: the node graph cannot run")
CHANNELS = {"CAM_FRONT": "front", "CAM_FRONT_RIGHT": "right", "CAM_BACK": "rear", "CAM_FRONT_LEFT": "left"}
KINDS = {"vehicle.car": "forklift", "vehicle.truck": "cart", "vehicle.bus.rigid": "cart"}
SHORT = {"steps": 2, "batch": 1, "warmup_steps": 1}


def tutorial() -> tuple[dict[str, str], list[str]]:
    """The tutorial's files by name, and its commands."""
    text = (ROOT / "docs" / "own_data.md").read_text()
    part = text[text.index("### From a bag to a student") : text.index("### Import KITTI")]
    files = dict(re.findall(r"```\w+ (\S+)\n(.*?)```", part, re.DOTALL))
    commands = re.findall(r"^    (kd .*?[^\\])$", part, re.MULTILINE | re.DOTALL)
    return files, [command.replace("\\\n", " ") for command in commands]


def record_robot(folder: Path) -> None:
    """A bag of four fisheyes under their own names, and its labels in the classes of the tutorial."""
    data = folder / "rendered"
    generate(SynthConfig(data, scenes=1, frames=3, seed=11, width=176, height=64, sweeps=0, jobs=1, rig="fisheye"))
    path = data / SYNTHETIC_VERSION / "sensor.json"
    rows = json.loads(path.read_text())
    path.write_text(json.dumps([row | {"channel": CHANNELS.get(row["channel"], row["channel"])} for row in rows]))
    nusc = open_nuscenes(data, SYNTHETIC_VERSION)
    (scene,) = scene_names(nusc)
    write_scene(nusc, scene, folder / "bags" / "robot", BagOptions("mcap"))
    labels = json.loads(write_labels(data, SYNTHETIC_VERSION, scene, folder / "labels.json").read_text())
    named = [label | {"class": KINDS.get(label["class"], "person")} for label in labels["labels"]]
    kept = [new for new, old in zip(named, labels["labels"], strict=True) if old["class"].startswith(("v", "h"))]
    (folder / "labels.json").write_text(json.dumps(labels | {"labels": kept}))


@pytest.mark.ros
@pytest.mark.slow
def test_the_tutorial_leads_from_a_bag_to_a_student_in_the_graph(tmp_path, monkeypatch) -> None:
    files, commands = tutorial()
    (tmp_path / "example.json").write_text(files["labels.json"])
    assert read_bag_labels(tmp_path / "example.json").boxes[0].kind == "forklift"
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "classes.yaml").write_text(files["classes.yaml"])
    run = yaml.safe_load(files["robot.yaml"])
    small = {"model": run["model"] | NARROW | HEAD, "schedule": SHORT}
    (tmp_path / "robot.yaml").write_text(yaml.safe_dump(run | small))
    record_robot(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(commands) == 7
    for command in commands[:-1]:
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        assert done.exit_code == 0, f"{command}\n{done.output}\n{done.exception!r}"
    spec = load_student(tmp_path / "out" / "robot.onnx").spec
    assert spec.classes.names == ("forklift", "cart", "person")
    run_in_graph(commands[-1])
    summary = json.loads((tmp_path / "out" / "replay" / "metrics_summary.json").read_text())
    assert tuple(summary["mean_dist_aps"]) == spec.classes.names


def run_in_graph(command: str) -> None:
    """Run `kd up` as a process: it starts others."""
    environment = os.environ | {"ROS_DOMAIN_ID": str(free_domain())}
    arguments = [sys.executable, "-m", "kd_perception.cli", *shlex.split(command)[1:]]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
