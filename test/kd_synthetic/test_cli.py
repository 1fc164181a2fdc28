"""The same bytes whatever the jobs, after an interruption too; clear refusals."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.synthetic import small_config
from typer import Typer
from typer.testing import CliRunner

from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import DataError
from kd_synthetic.cli import synth
from kd_synthetic.dataset.generate import SynthConfig, generate

BASIC = {"frames", "seed", "width", "height", "sweeps"}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_one_job_and_an_interrupted_run_write_the_same_bytes(dataset: SynthConfig, tmp_path: Path) -> None:
    config = small_config(tmp_path / "again", jobs=1)
    command = [
        sys.executable,
        "-m",
        "kd_synthetic.cli",
        "--out",
        str(config.out),
        "--scenes",
        "2",
        "--frames",
        "2",
        "--seed",
        "7",
    ]
    command += ["--size", "176x64", "--sweeps", "1", "--jobs", "1"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    deadline = time.monotonic() + 120
    while (
        not (started := list(config.out.glob("samples/*/*.jpg")))
        and time.monotonic() < deadline
        and process.poll() is None
    ):
        time.sleep(0.02)  # polls for the first picture
    assert started, process.communicate()[0]
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches every process of a terminal's group
    output = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130 and "Traceback" not in output, output
    assert not [path for path in config.out.rglob(".*") if path.is_file()], "half a file was left"
    assert not (config.out / SYNTHETIC_VERSION).exists() or len(list((config.out / "scenes").glob("*.json"))) == 2

    generate(config)
    assert digests(config.out) == digests(dataset.out)


def test_a_lost_scene_is_rendered_again_and_finished_ones_are_not(dataset: SynthConfig, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(dataset.out, out)
    config = replace(dataset, out=out)
    config.scene_file(1).unlink()
    kept = {path: path.stat().st_mtime_ns for path in out.glob("samples/*/synth-7-0000*")}
    counts: list[tuple[int, int]] = []
    generate(config, lambda done, total: counts.append((done, total)))
    assert counts == [(1, 2), (2, 2)]
    assert kept and all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    assert digests(out) == digests(dataset.out)


def test_other_settings_in_the_same_folder_are_refused(dataset: SynthConfig) -> None:
    for other in ({"sweeps": 2}, {"rig": "moved"}, {"camera_hz": 10}, {"light": "night"}, {"depth": True}):
        with pytest.raises(DataError, match="other settings"):
            generate(replace(dataset, **other))
    for path in (dataset.out / "scenes").glob("*.json"):  # what rendered before this option came stays valid
        assert set(json.loads(path.read_text())["content"]) == {"version", *BASIC}


@pytest.mark.parametrize(
    "wrong",
    [
        {"scenes": 0},
        {"frames": 0},
        {"sweeps": 10},
        {"jobs": 0},
        {"seed": -1},
        {"height": 65},
        {"rig": "tower"},
        {"camera_hz": 5},
        {"camera_spread_ms": 51.0},
        {"city": "C"},
        {"light": "noon"},
        {"weather": "snow"},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, int | float | str]) -> None:
    with pytest.raises(ValueError):
        SynthConfig(**({"out": Path("x"), "scenes": 1, "width": 100, "height": 50} | wrong))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "large"], "WIDTHxHEIGHT"),
        (["--size", "704x999"], "use 1 to 396 rows"),
        (["--scenes", "0"], "scenes cannot be 0; use 1 or more"),
        (["--version", "v1.0-mini"], "--version belongs to --tables"),
    ],
)
def test_the_command_explains_wrong_input(arguments: list[str], sentence: str, tmp_path: Path) -> None:
    app = Typer()
    app.command()(synth)
    result = CliRunner().invoke(app, ["--out", str(tmp_path / "x"), *arguments])
    assert result.exit_code != 0 and "Traceback" not in result.output
    assert sentence in " ".join(result.output.split())
    assert not (tmp_path / "x").exists()
