"""`kd export` of a LiDAR teacher: one ONNX file (kd_perception.teacher.spec), checked against PyTorch first."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from kd_perception.atomic import atomic_path
from kd_perception.errors import ConfigError
from kd_perception.teacher.clouds import COLUMNS
from kd_perception.teacher.pillars import pillar_points, pillar_tables
from kd_perception.teacher.spec import INPUTS, METADATA_KEY, TeacherSpec
from kd_training.checkpoints.onnx_files import ExampleInputs, add_metadata, check_outputs, write_graph
from kd_training.config.teacher_spec import teacher_spec
from kd_training.data.points import collate_points
from kd_training.models.teachers.centerpoint import CenterPoint
from kd_training.models.teachers.file_network import TeacherFileNetwork
from kd_training.models.teachers.pillars import PillarEncoder

EXAMPLE_POINTS = 20_000


def export_teacher(
    model: CenterPoint, target: Path, provenance: dict[str, str], accuracy: dict[str, float]
) -> TeacherSpec:
    """Write `model` to `target` with its metadata; the file appears once ONNX Runtime reproduces PyTorch's outputs.

    Raises StudentError if they differ or an operator is not TensorRT-legal; ConfigError for a teacher that has no file.
    """
    _check_kind(model)
    spec = replace(teacher_spec(model.config), provenance=provenance, accuracy=accuracy)
    network, cloud = TeacherFileNetwork(model, spec), example_cloud(spec)
    example = teacher_inputs(spec, cloud)
    with atomic_path(target) as temporary:
        write_graph(network, example, spec.outputs, temporary, dynamic={})
        add_metadata(temporary, METADATA_KEY, spec.to_json())
        expected = model.detect(collate_points([cloud]))
        check_outputs(temporary, example, spec.outputs, expected, f"{len(cloud)} points")
    return spec


def _check_kind(model: CenterPoint) -> None:
    """Raise ConfigError for a teacher that needs image instances, which no robot has, or other points than ours."""
    config, encoder = model.config, model.encoder
    if config.points.virtual.per_instance:
        raise ConfigError(
            f"teacher {config.name} takes virtual points of image instances, which a robot does not have; export a "
            "teacher with points.virtual.per_instance=0"
        )
    if not isinstance(encoder, PillarEncoder) or config.network_turns or config.network_height:
        raise ConfigError(
            f"teacher {config.name} has voxels, published_pillars or axes of its own, but only teachers of our pillars "
            "become files; export one as of config/teacher/centerpoint_demo.yaml"
        )


def teacher_inputs(spec: TeacherSpec, cloud: np.ndarray) -> ExampleInputs:
    """A file's inputs for a cloud (P, 5)."""
    tables = pillar_tables(pillar_points(cloud, spec.raster), spec).inputs
    return ExampleInputs(INPUTS, tuple(tables[name] for name in INPUTS))


def example_cloud(spec: TeacherSpec) -> np.ndarray:
    """Seeded points (P, 5) float32 that fit into the file: most nearly alone in their pillar, one with a crowd."""
    rng = np.random.default_rng(0)
    count = min(EXAMPLE_POINTS, spec.points.most // 2)
    low, high = spec.points.z_range
    reach = np.array([spec.grid.x_max, spec.grid.y_max])
    cloud = np.empty((count, COLUMNS), np.float32)
    cloud[:, :2] = rng.uniform(-reach, reach, (count, 2))
    cloud[: 3 * spec.points.crowd // 4, :2] = cloud[0, :2]
    cloud[:, 2] = rng.uniform(low, high, count)
    cloud[:, 3] = rng.random(count)
    cloud[:, 4] = rng.integers(0, spec.points.sweeps, count) * 0.1
    return cloud
