"""`kd export`: a trained student as one ONNX file (kd_perception.student.spec), checked against PyTorch first."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import torch

from kd_perception.atomic import atomic_path
from kd_perception.errors import StudentError
from kd_perception.geometry.camera import ring_rig
from kd_perception.geometry.transforms import make_transform, quaternion_from_yaw
from kd_perception.runtime.bev_memory import memory_inputs
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.spec import CAMERA_AXIS, METADATA_KEY, StudentSpec
from kd_training.models.students.bevdet import BevDet

OPSET = 17  # read by TensorRT 10 and 11, OpenVINO and ONNX Runtime
PLAIN_OPERATORS_ONLY = ("ScatterND", "ScatterElements", "NonZero", "Unique")  # what TensorRT refuses
TOLERANCE = 1e-3  # relative to max(1, |reference|)


@dataclass(frozen=True)
class ExampleInputs:
    """One rig's inputs of a student file, in the file's order."""

    names: tuple[str, ...]
    arrays: tuple[np.ndarray, ...]

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The same as torch tensors."""
        return tuple(torch.from_numpy(array) for array in self.arrays)


def export_student(
    model: BevDet, target: Path, provenance: dict[str, str], accuracy: dict[str, float], latency_ms: dict[str, float]
) -> StudentSpec:
    """Write `model` to `target` with its metadata; the file appears once ONNX Runtime reproduces
    PyTorch's outputs.

    Raises StudentError if the outputs differ or an operator is not TensorRT-legal.
    """
    spec = replace(model.spec, provenance=provenance, accuracy=accuracy, latency_ms=latency_ms)
    model = model.eval()
    with atomic_path(target) as temporary:
        write_onnx(model, temporary)
        add_metadata(temporary, spec)
        check_against_torch(model, temporary)
    return spec


def write_onnx(model: BevDet, target: Path) -> None:
    """Trace the model with its trained camera count; the camera axis (and what depends on it) stays dynamic."""
    example = example_inputs(model, model.spec.trained_cameras)
    dynamic = {name: {0: CAMERA_AXIS} for name in model.spec.camera_shapes(1)}
    if model.spec.view.kind == "splat":
        dynamic |= {name: {0: f"rows_{name}"} for name in model.view.table_names if name != "cell_index"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the tracing exporter writes the plainest graph of the two
        torch.onnx.export(
            model, example.tensors(), str(target), input_names=list(example.names),
            output_names=list(model.spec.outputs), dynamic_axes=dynamic, opset_version=OPSET, dynamo=False,
        )  # fmt: skip


def add_metadata(path: Path, spec: StudentSpec) -> None:
    """Put the spec into the file and make sure that it holds plain operators only."""
    model = onnx.load(str(path))
    refused = sorted({node.op_type for node in model.graph.node} & set(PLAIN_OPERATORS_ONLY))
    if refused:
        raise StudentError(f"{path.name}: the exported graph holds {', '.join(refused)}, which TensorRT refuses")
    onnx.helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def check_against_torch(model: BevDet, path: Path) -> None:
    """Run file and model on the same inputs, for the trained camera count and another, the last camera missing."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = list(model.spec.outputs)
    for cameras in (model.spec.trained_cameras, max(1, model.spec.trained_cameras - 2)):
        example = example_inputs(model, cameras)
        example.arrays[1][-1] = 0.0
        got = session.run(names, dict(zip(example.names, example.arrays, strict=True)))
        with torch.inference_mode():
            expected = [value.numpy() for value in model(*example.tensors())]
        for name, left, right in zip(names, got, expected, strict=True):
            error = float((np.abs(left - right) / np.maximum(1.0, np.abs(right))).max())
            if not error <= TOLERANCE:
                raise StudentError(
                    f"{path.name}: {name} differs from PyTorch by {error:.2g} with {cameras} cameras; the export is "
                    "not faithful"
                )


def example_inputs(model: BevDet, cameras: int) -> ExampleInputs:
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
