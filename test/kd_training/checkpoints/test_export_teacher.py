"""A teacher's file answers as the teacher does, with every engine, for clouds that are dense, sparse, empty or too
large; TensorRT reads it."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from support.tiny_runs import teacher_run

from kd_bench.gpu.build_report import build_reports
from kd_perception.engines.base import open_engine
from kd_perception.errors import ConfigError
from kd_perception.parity.tolerances import RAW_TOLERANCE, raw_errors
from kd_perception.teacher.pillars import pillar_points
from kd_perception.teacher.spec import Teacher, open_teacher
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.checkpoints.export_teacher import example_cloud, export_teacher, teacher_inputs
from kd_training.cli import export
from kd_training.config.teacher import PointsConfig, PublishedPillarsConfig, VirtualPointsConfig
from kd_training.data.points import collate_points
from kd_training.models.teachers import build_teacher
from kd_training.models.teachers.centerpoint import CenterPoint

POINTS = PointsConfig(sweeps=3, per_pillar=4, most=600)


def tiny_config(points: PointsConfig = POINTS):
    config = teacher_run(Path("nowhere"))
    return replace(config, teacher=replace(config.teacher, points=points))


def shaken(config) -> CenterPoint:
    """Random weights, and batch norms that change what goes through them."""
    torch.manual_seed(0)
    model = build_teacher(config.teacher)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.normal_(part.bias)
            torch.nn.init.uniform_(part.running_var, 0.5, 2.0)
            torch.nn.init.normal_(part.running_mean)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> CenterPoint:
    return shaken(tiny_config())


@pytest.fixture(scope="module")
def teacher(model, tmp_path_factory) -> Teacher:
    """Exported as `kd export` does it, with the weights next to it."""
    folder = tmp_path_factory.mktemp("teacher")
    save_weights(model.state_dict(), tiny_config(), folder / "weights.safetensors")
    export(checkpoint=folder / "weights.safetensors", out=folder / "teacher.onnx", data="none", metrics=None)
    return open_teacher(folder / "teacher.onnx")


def clouds(teacher: Teacher) -> dict[str, np.ndarray]:
    crowd = np.random.default_rng(1).random((teacher.spec.points.crowd, 5)).astype(np.float32) * 0.1
    example = example_cloud(teacher.spec)
    return {"example": example, "one full pillar": crowd, "one point": example[:1], "none": example[:0]}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "torch"])
def test_every_engine_answers_as_the_teacher(teacher, model, engine):
    opened = open_engine(engine, teacher)
    for name, cloud in clouds(teacher).items():
        heatmap, regression = model.detect(collate_points([cloud]))
        errors = raw_errors(
            opened.run(teacher_inputs(teacher.spec, cloud).by_name),
            {"heatmap": heatmap.numpy(), "regression": regression.numpy()},
        )
        assert max(errors.values()) < RAW_TOLERANCE, (name, errors)


def test_the_file_says_what_it_was_trained_with(teacher, model):
    spec = teacher.spec
    assert spec.name == model.config.name and spec.classes == model.classes and spec.grid == model.grid
    assert spec.raster == model.pillars.raster and spec.coding == model.coding
    assert (spec.points.sweeps, spec.points.per_pillar, spec.points.most, spec.points.crowd) == (3, 4, 600, 16)
    assert spec.provenance["data"] == "none" and teacher.model_id.startswith(f"{spec.name}@")


def test_teachers_that_a_robot_cannot_run_are_refused(tmp_path):
    virtual = replace(POINTS, virtual=VirtualPointsConfig(per_instance=5))
    published = tiny_config()
    published.teacher.published_pillars = PublishedPillarsConfig(layers=1)
    for config, why in (
        (tiny_config(virtual), "image instances, which a robot does not"),
        (published, "of our pillars"),
    ):
        with pytest.raises(ConfigError, match=why):
            export_teacher(shaken(config), tmp_path / "teacher.onnx", {}, {})
    assert not list(tmp_path.iterdir())


def test_features_of_training_and_of_the_file_are_the_same(teacher, model):
    cloud = example_cloud(teacher.spec)
    pillar, features, _ = model.pillars._features(collate_points([cloud]), 1)
    found = pillar_points(cloud, teacher.spec.raster)
    np.testing.assert_array_equal(pillar.numpy(), found.cell)
    np.testing.assert_allclose(features.numpy(), found.features, atol=2e-6)


@pytest.mark.skipif(find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX has wheels for x86_64 only")
def test_tensorrt_reads_and_builds_it(teacher):
    [report] = build_reports([teacher.path], {}, ["SM86"])
    assert report.complaints == [] and set(report.inputs) == {"points", "followers", "first_point"}
    assert report.engine_bytes["SM86"] > 0, report.errors
