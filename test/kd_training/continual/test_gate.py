"""The gate: how losses are counted, what is refused, and that a file's scores on a set are computed once."""

import json
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from support.fake_student import SPEC, write_fake_student
from support.nuscenes_tables import SCENES, VERSION, write_dataset
from typer.testing import CliRunner

from kd_perception.cli import app
from kd_perception.errors import ConfigError
from kd_perception.geometry.classes import NUSCENES, ClassList
from kd_perception.student.spec import Student, StudentSpec, load_student
from kd_training.continual import gate as gate_module
from kd_training.continual.gate import (
    DomainScores,
    DomainVerdict,
    HeldOutSet,
    ReleaseGate,
    StudentScorer,
    judge_release,
    relative_loss,
)


def scores(mean_ap: float, nds: float, **classes: float) -> DomainScores:
    return DomainScores(mean_ap, nds, classes)


def test_losses_are_relative_and_the_larger_of_two_counts():
    assert relative_loss(0.5, 0.4) == pytest.approx(0.2) and relative_loss(0.0, 0.1) == 0.0
    verdict = DomainVerdict.of("day", scores(0.5, 0.4, car=0.6, bus=0.4), scores(0.5, 0.38, car=0.7, bus=0.3))
    assert verdict.loss == pytest.approx(0.05)
    assert (verdict.worst, verdict.worst_loss) == ("bus", pytest.approx(0.1))
    better = DomainVerdict.of("day", scores(0.4, 0.4, car=0.4), scores(0.5, 0.5, car=0.5))
    assert better.loss < 0 and better.worst == "" and better.worst_loss == 0.0


def test_one_domain_that_loses_too_much_refuses_the_release():
    kept = DomainVerdict.of("day", scores(0.5, 0.5, car=0.5), scores(0.495, 0.5, car=0.49))
    lost = DomainVerdict.of("rain", scores(0.5, 0.5, car=0.5), scores(0.45, 0.5, car=0.4))
    assert "may replace" in ReleaseGate("a@1", "b@2", 0.02, (kept,)).sentence
    refusal = ReleaseGate("a@1", "b@2", 0.02, (kept, lost))
    assert refusal.refused == (lost,)
    assert refusal.sentence == "b@2 may not replace a@1: rain loses 10.0%, and 2.0% is allowed"


def test_sets_are_read_from_the_command_line():
    assert HeldOutSet.of("night=out/night/v1.0-synth") == HeldOutSet("night", Path("out/night"), "v1.0-synth")
    named = HeldOutSet.of("rain=/data/v1.0-mini:scene-1,scene-2")
    assert named == HeldOutSet("rain", Path("/data"), "v1.0-mini", ("scene-1", "scene-2"))
    for text in ("night", "=out/night/v1", "night=v1.0-synth", "night="):
        with pytest.raises(ConfigError, match="is not NAME=FOLDER/VERSION"):
            HeldOutSet.of(text)


def student(name: str, spec: StudentSpec = SPEC) -> Student:
    return Student(Path(f"{name}.onnx"), replace(spec, name=name), name)


def test_students_and_domains_that_cannot_be_compared_are_refused(tmp_path):
    evaluator, day = StudentScorer(tmp_path, "auto"), HeldOutSet("day", tmp_path, VERSION)
    fewer = student("fewer", replace(SPEC, classes=ClassList(NUSCENES.groups[1:])))
    with pytest.raises(ConfigError, match="fewer@fewer does not detect car, which old@old does"):
        judge_release(student("old"), fewer, [day], evaluator)
    for domains in ([], [day, day]):
        with pytest.raises(ConfigError, match="give every domain once, with a name of its own"):
            judge_release(student("old"), student("new"), domains, evaluator)
    with pytest.raises(ConfigError, match="the allowed loss is 1; give a share"):
        judge_release(student("old"), student("new"), [day], evaluator, 1.0)


def blinded(source: Path, target: Path) -> Path:
    """The same file, for which every pixel is background."""
    model = onnx.load(source)
    dark = next(entry for entry in model.graph.initializer if entry.name == "dark")
    dark.CopyFrom(numpy_helper.from_array(np.float32(1e6), "dark"))
    onnx.save(model, target)
    return target


def test_the_command_judges_files_and_computes_nothing_twice(tmp_path, monkeypatch):
    """A student that reads the painted images may replace itself; a blind one may not."""
    data = write_dataset(tmp_path / "data")
    old = write_fake_student(tmp_path / "old.onnx")
    blind = blinded(old, tmp_path / "blind.onnx")
    runs, detect = [], gate_module.detect_scenes
    monkeypatch.setattr(
        gate_module, "detect_scenes", lambda *args, **named: runs.append(args) or detect(*args, **named)
    )
    domains = [
        f"--domain={name}={data}/{VERSION}:{scene}" for name, scene in zip(("north", "east"), SCENES, strict=True)
    ]
    command = ["continual", "gate", str(old), "--out", str(tmp_path / "gate"), "--engine", "onnxruntime", *domains]
    passed = CliRunner().invoke(app, [*command[:3], str(old), *command[3:]])
    assert passed.exit_code == 0, passed.output
    assert len(runs) == 2  # both students are one file
    refused = CliRunner().invoke(app, [*command[:3], str(blind), *command[3:]])
    assert refused.exit_code == 1 and "loses 100.0%" in refused.output
    assert len(runs) == 4
    found = json.loads((tmp_path / "gate" / "gate.json").read_text())
    assert found["refused"] == ["north", "east"] and found["domains"][0]["worst"]
    assert msgspec.convert(found, ReleaseGate).old == load_student(old).model_id
    assert "may not replace" in (tmp_path / "gate" / "gate.html").read_text()
    picture = next(iter(sorted((data / "samples").rglob("*.jpg"))))
    picture.write_bytes(picture.read_bytes() + b" ")  # as if the set had been rendered again: one scene is scored again
    assert CliRunner().invoke(app, [*command[:3], str(old), *command[3:]]).exit_code == 0 and len(runs) == 5
    absent = CliRunner().invoke(app, [*command[:3], str(old), *command[3:], "--anchor", "roof"])
    assert isinstance(absent.exception, ConfigError) and "roof" in str(absent.exception)


def test_what_nobody_knows_refuses_a_release():
    unknown = DomainVerdict.of("fog", scores(0.5, 0.5, car=0.5), scores(float("nan"), 0.5, car=float("nan")))
    assert ReleaseGate("a@1", "b@2", 0.02, (unknown,)).refused == (unknown,)
