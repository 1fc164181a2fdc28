"""`kd bench latency` and `kd bench scaling` on a narrow student and painted frames."""

from pathlib import Path

import numpy as np
import pytest
from support.narrow_model import NARROW
from support.nuscenes_tables import VERSION, write_dataset

from kd_bench.cut_student import backbone_alone
from kd_bench.latency import cli
from kd_bench.latency.energy import EnergyMeter
from kd_bench.latency.peers import Peer, time_peers
from kd_bench.latency.scaling import Case, scaling_rows, time_cases
from kd_bench.untrained import untrained_student
from kd_perception.engines.base import open_engine
from kd_perception.errors import ConfigError, EngineError
from kd_perception.student.spec import Student
from kd_training.config.experiment import TrainConfig, to_yaml
from kd_training.config.sections import (
    DataConfig,
    DataRoot,
    ModelConfig,
    StudentScheduleConfig,
    TemporalConfig,
)

CONFIG = TrainConfig(
    model=ModelConfig(name="narrow", temporal=TemporalConfig(frames=2), **NARROW),
    data=DataConfig(roots=[DataRoot(root="none", version="none")]),
    schedule=StudentScheduleConfig(steps=1),
)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Student:
    return untrained_student(CONFIG, tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("painted"), samples=2)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_page_says_what_was_measured(
    student: Student, dataroot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
):
    monkeypatch.setattr(cli, "render_moments", lambda folder: dataroot)
    monkeypatch.setattr(cli, "SYNTHETIC_VERSION", VERSION)
    for name, small in {"ROWS": 32, "WIDTH": 64, "BIG_BYTES": 1 << 20}.items():
        monkeypatch.setattr(f"kd_bench.latency.limits.{name}", small)
    monkeypatch.setattr("kd_bench.latency.peers.torch.compile", refuse)  # takes a minute
    out = tmp_path / "latency.md"
    torch = engine == "openvino"
    if torch:
        cli.latency(student=[student.path], engine=engine, threads=1, rounds=1, work=tmp_path, out=out)
    else:
        config = tmp_path / "narrow.yaml"
        config.write_text(to_yaml(CONFIG))
        cli.latency(
            untrained=[config], int8=True, engine=engine, threads=1, rounds=1, torch=False, work=tmp_path, out=out
        )
    page = out.read_text()
    assert ("| openvino, int8 |" in page) != torch
    assert out.with_suffix(".png").stat().st_size > 5000
    for stage in ("backbone", "neck", "view transform", "BEV encoder", "memory", "heads", "all"):
        assert f"| {stage} |" in page
    for peer in ("eager PyTorch, NCHW", "eager PyTorch, channels_last") if torch else ():
        assert f"| {peer} |" in page
    assert all(f"| {peer} |" in page for peer in ("onnxruntime, fp32", "openvino, fp32"))
    assert torch == ("compiled PyTorch does not run here (RuntimeError: no compiler)" in page)
    assert "bytes to boxes" in page and "times the image backbone alone" in page
    enter = 32 * 32 * 16 * 8 * 9 / 1e6  # the first block of the BEV encoder alone
    encoder = next(line for line in page.splitlines() if line.startswith("| BEV encoder |"))
    assert float(encoder.split("|")[2]) > enter


def refuse(model):
    def run(*_):
        raise RuntimeError("no compiler")

    return run


def test_an_engine_without_profile_is_refused():
    with pytest.raises(ConfigError, match="choose one of openvino, onnxruntime"):
        cli.latency(engine="torch")


def test_the_backbone_alone_gives_what_the_neck_reads(student: Student, dataroot: Path, tmp_path: Path):
    import torch

    from kd_training.checkpoints.models import load_model

    images = np.random.default_rng(0).integers(0, 256, (6, 64, 96, 3), dtype=np.uint8)
    outputs = open_engine("onnxruntime", backbone_alone(student, 6, tmp_path), 6).run({"images": images})
    model = load_model(student.path.with_suffix(".safetensors"))
    with torch.inference_mode():
        levels = [level.numpy() for level in model.image_levels(torch.from_numpy(images))]
    assert len(outputs) == len(levels)
    for value in outputs.values():
        level = next(level for level in levels if level.shape == value.shape)
        np.testing.assert_allclose(value, level, atol=1e-3)


def test_a_peer_that_answers_otherwise_is_refused_but_an_int8_file_is_measured():
    right, wrong = {"heatmap": np.zeros((2, 2))}, {"heatmap": np.ones((2, 2))}
    peers = [Peer("eager", "fp32", lambda: right), Peer("engine, int8", "int8", lambda: wrong)]
    times = time_peers(peers, rounds=3)
    assert [entry.apart for entry in times] == [0.0, 1.0] and len(times[1].ms) == 3
    with pytest.raises(EngineError, match="engine, fp32 differs from eager"):
        time_peers([peers[0], Peer("engine, fp32", "fp32", lambda: wrong)], rounds=1)


def test_energy_is_counted_where_the_machine_has_counters(tmp_path: Path):
    assert EnergyMeter(tmp_path, "none.so").source == ""
    for name, start in (("intel-rapl:0", 1_000_000), ("intel-rapl:0:0", 5), ("intel-rapl:1", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text(f"{start}\n")
    meter = EnergyMeter(tmp_path, "none.so")
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("3500000\n")
    (tmp_path / "intel-rapl:0:0" / "energy_uj").write_text("9000000\n")  # a core's is part of its package's
    assert meter.source == "RAPL" and meter.joules() == pytest.approx(2.5)


def test_cost_is_compared_with_work():
    cases = [Case("cameras", "1", 1.0, lambda: sum(range(100))), Case("cameras", "2", 2.0, lambda: sum(range(100)))]
    times = time_cases(cases, rounds=3)
    rows = scaling_rows(times)
    assert [row[0] for row in rows] == ["cameras", ""]
    assert rows[0][4:] == ("1.00", "1.00", "1.00") and rows[1][4] == "2.00"
    assert float(rows[1][6]) == pytest.approx(times[1].cost / 2.0, abs=0.006)
    assert times[1].cost == pytest.approx(times[1].cpu_s / times[0].cpu_s)
