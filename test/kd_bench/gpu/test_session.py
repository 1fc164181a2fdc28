"""`kd bench gpu` from its first scene to the scores, small, on a CPU; cut off and begun again."""

import json

import pytest
from support.tiny_runs import student_run, teacher_run

from kd_bench.gpu import session as module
from kd_bench.gpu.session import RESULT_FILE, gpu
from kd_perception.errors import ConfigError
from kd_training.config.experiment import to_yaml


@pytest.mark.slow
def test_a_small_session_goes_on_where_it_was_cut_off(tmp_path, monkeypatch):
    """Its result file says how it was made, how fast each trained, what share data took, and the scores."""
    (tmp_path / "teacher.yaml").write_text(to_yaml(teacher_run(tmp_path)))
    (tmp_path / "student.yaml").write_text(to_yaml(student_run(tmp_path)))
    small = {"minutes": 0.01, "batch": 2, "scenes": 1, "frames": 2, "sweeps": 0, "width": 176, "workers": 0}
    small |= {"frames_timed": 2, "frames_watched": 3}
    options = {"teacher": tmp_path / "teacher.yaml", "student": tmp_path / "student.yaml", **small}
    monkeypatch.setattr(module, "MEASURED", 2)

    train = module.train
    monkeypatch.setattr(module, "train", lambda config, folder, **_: train(config, folder) and folder.name == "teacher")
    with pytest.raises(KeyboardInterrupt):  # the student is cut off
        gpu(out=tmp_path / "out", **options)
    stages = json.loads((tmp_path / "out" / RESULT_FILE).read_text())["stages"]
    assert list(stages) == ["render", "teacher speed", "teacher", "student speed"]

    monkeypatch.setattr(module, "train", train)
    gpu(out=tmp_path / "out", **options)
    result = json.loads((tmp_path / "out" / RESULT_FILE).read_text())
    assert {name: result["stages"][name] for name in stages} == stages and result["seed"] == 0
    assert result["commit"] and "cores" in result["device"]
    for name in ("teacher", "student"):
        speed, found = result["stages"][f"{name} speed"], result["stages"][name]
        assert speed["samples_per_s"] > 0.0 and 0.0 < speed["data_share"] < 1.0
        assert found["steps"] >= module.WARM and 0.0 <= found["NDS"] <= 1.0
        assert (tmp_path / "out" / name / "weights.safetensors").is_file()
    engines = result["stages"]["engines"]
    assert list(engines["files"]) == ["fp32", "fp16", "int8"]
    for figures in engines["files"].values():
        assert isinstance(figures["tensorrt"], str), "why it did not open"
        assert figures["onnxruntime"]["p50_ms"] > 0.0 and max(figures["onnxruntime"]["errors"].values()) == 0.0
    assert max(engines["files"]["fp32"]["openvino"]["errors"].values()) < 1e-3
    assert engines["leaks"]["engine"] == "openvino" and engines["leaks"]["frames"] >= 1
    with pytest.raises(ConfigError, match="of seed 0 and commit"):
        gpu(out=tmp_path / "out", seed=1, **options)
