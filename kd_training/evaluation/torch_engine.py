"""The PyTorch engine: the reference that other engines are compared with; registered as `torch` in the entry points
kd.engines.

It runs the network code of kd_training with the weights (.safetensors) that `kd export` writes next to the
file of a student or a teacher.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from kd_perception.engines.protocol import EngineOptions, ModelFile
from kd_perception.errors import EngineError, KdError
from kd_training.checkpoints.models import load_model, load_teacher
from kd_training.config.teacher_spec import teacher_spec
from kd_training.evaluation.model_engine import ModelEngine
from kd_training.models.students.camera_student import CameraStudent
from kd_training.models.teachers.file_network import TeacherFileNetwork

# Facts that weights and file must share.
COMPARED = {
    "student": ("grid", "view", "image_size", "mean", "std", "memory_shape", "camera_params", "classes"),
    "teacher": ("grid", "raster", "points", "classes", "coding"),
}


class TorchEngine:
    """A model in eager PyTorch on the CPU, float32."""

    name = "torch"
    not_kept = ""

    def __init__(self, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """Load the weights. Raises EngineError without them or if they do not fit."""
        if model.spec.precision != "fp32":
            raise EngineError(
                f"the torch engine computes in FP32, and {model.path} is in {model.spec.precision}; use engine "
                "openvino or onnxruntime, or the FP32 file"
            )
        weights = model.path.with_suffix(".safetensors")
        try:
            network = _network(weights, model.kind).to(memory_format=torch.channels_last)
        except KdError as error:
            raise EngineError(f"the torch engine needs the weights next to the {model.kind} file: {error}") from error
        if any(getattr(network.spec, name) != getattr(model.spec, name) for name in COMPARED[model.kind]):
            raise EngineError(f"{weights} is another model than {model.path}; export both again with kd export")
        if options.threads:
            torch.set_num_threads(options.threads)
        self._engine = ModelEngine(network)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs -> named outputs."""
        return self._engine.run(inputs)


def _network(weights: Path, kind: str) -> CameraStudent | TeacherFileNetwork:
    """The model of a weights file, with the inputs and outputs of its exported file."""
    if kind == "student":
        return load_model(weights)
    teacher = load_teacher(weights)
    return TeacherFileNetwork(teacher, teacher_spec(teacher.config))
