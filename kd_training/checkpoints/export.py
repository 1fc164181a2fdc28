"""`kd export`: a trained student as one ONNX file (kd_perception.student.spec), checked against PyTorch first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from kd_perception.atomic import atomic_path
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.runtime.bev_memory import memory_inputs
from kd_perception.student.ancestry import Ancestor
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.spec import CAMERA_AXIS, METADATA_KEY, StudentSpec, table_axis
from kd_training.checkpoints.onnx_files import ExampleInputs, add_metadata, check_outputs, write_graph
from kd_training.models.students.camera_student import CameraStudent


def export_student(
    model: CameraStudent,
    target: Path,
    provenance: dict[str, str],
    accuracy: dict[str, float],
    latency_ms: dict[str, float],
    *,
    ancestry: tuple[Ancestor, ...] = (),
) -> StudentSpec:
    """Write `model` to `target` with its metadata; the file appears once ONNX Runtime reproduces
    PyTorch's outputs.

    Raises StudentError if the outputs differ or an operator is not TensorRT-legal.
    """
    spec = replace(model.spec, provenance=provenance, accuracy=accuracy, latency_ms=latency_ms, ancestry=ancestry)
    model = model.eval()
    with atomic_path(target) as temporary:
        write_onnx(model, temporary)
        add_metadata(temporary, METADATA_KEY, spec.to_json())
        check_against_torch(model, temporary)
    return spec


def write_onnx(model: CameraStudent, target: Path) -> None:
    """Trace the model with its trained camera count; the camera axis (and what depends on it) stays dynamic."""
    dynamic = {name: {0: CAMERA_AXIS} for name in model.spec.camera_shapes(1)}
    if model.spec.view.kind == "splat":
        dynamic |= {name: {0: table_axis(name)} for name in model.view.table_names if name != "cell_index"}
    write_graph(model, example_inputs(model, model.spec.trained_cameras), model.spec.outputs, target, dynamic=dynamic)


def check_against_torch(model: CameraStudent, path: Path) -> None:
    """Run file and model on the same inputs, for the trained camera count and another, the last camera missing."""
    for cameras in (model.spec.trained_cameras, max(1, model.spec.trained_cameras - 2)):
        example = example_inputs(model, cameras)
        example.arrays[1][-1] = 0.0
        with torch.inference_mode():
            expected = model(*example.tensors())
        check_outputs(path, example, model.spec.outputs, expected, f"{cameras} cameras")


def example_inputs(model: CameraStudent, cameras: int) -> ExampleInputs:
    """Seeded noise images and the geometry of a ring of `cameras` ideal cameras.

    A student with memory also gets a noise memory of its best age; since then the ego drove 3 m and turned.
    """
    spec = model.spec
    height, width = spec.image_size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (cameras, height, width, 3), dtype=np.uint8)
    inputs = {"images": images, "camera_valid": np.ones(cameras, np.float32)}
    inputs |= geometry_inputs(spec, ring_rig(cameras, width, height), [np.eye(3)] * cameras)
    if spec.memory is not None:
        inputs |= example_memory(spec, rng.random(spec.memory_shape, dtype=np.float32))
    return ExampleInputs(model.input_names, tuple(inputs[name] for name in model.input_names))


def example_memory(spec: StudentSpec, feature: np.ndarray) -> dict[str, np.ndarray]:
    """Memory inputs of a feature of the student's best age; since then the ego drove 3 m and turned."""
    motion = make_transform(quaternion_from_yaw(0.1), np.array([3.0, 0.2, 0.0]))
    return memory_inputs(spec.grid, feature, motion, spec.memory.interval_s)
