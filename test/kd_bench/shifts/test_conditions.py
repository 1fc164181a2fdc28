"""`kd bench robustness`: figures relative to the day's, and a second run that renders and detects nothing again."""

import os
from pathlib import Path

from typer.testing import CliRunner

from kd_bench.shifts.conditions import CONDITIONS, table_rows
from kd_bench.shifts.rigs import Score
from kd_perception.cli import app
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_synthetic.dataset.config import SynthConfig


def test_figures_are_relative_to_the_day():
    rows = table_rows({"day": Score(0.4, 0.5, 0.6, 0.3), "night": Score(0.1, 0.25, 0.8, 0.9)})
    assert rows[0][-2:] == ("100 %", "100 %")
    assert rows[1] == ("night", "0.100", "0.250", "0.80", "0.90", "25 %", "50 %")


def test_every_condition_is_one_that_can_be_rendered():
    shown = {name: SynthConfig(Path("x"), **change).conditions(0) for name, change in CONDITIONS.items()}
    assert len({str(conditions) for conditions in shown.values()}) == len(shown) == 6


def test_a_small_run_ends_with_table_and_picture_and_keeps_what_it_made(tmp_path, monkeypatch):
    command = [
        "bench", "robustness", "--student", str(resource(SHIPPED_SINGLE_FRAME_STUDENT)), "--condition", "night",
        "--scenes", "1", "--frames", "1", "--jobs", "1", "--out", str(tmp_path), "--threads", "1",
        "--report", str(tmp_path / "robustness.md"),
    ]  # fmt: skip
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "robustness.md").read_text()
    assert "| day |" in text and "| night |" in text and "| rain |" not in text
    assert (tmp_path / "robustness.png").stat().st_size > 1000
    images = {path: path.stat().st_mtime_ns for path in (tmp_path / "night").rglob("*.jpg")}
    assert images and os.listdir(tmp_path / "results")

    def again(*_):
        raise AssertionError("detected again")

    monkeypatch.setattr("kd_bench.shifts.rigs.detect_scenes", again)
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in images} == images
