"""The PyTorch engine: the reference that other engines are compared with; registered as `torch` in the entry points
kd.engines.

It runs the network code of kd_training with the weights (.safetensors) that `kd export` writes next to the
student file.
"""

from collections.abc import Mapping

import numpy as np
import torch

from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import EngineError, KdError
from kd_perception.student.spec import Student
from kd_training.checkpoints.models import load_model
from kd_training.evaluation.model_engine import ModelEngine

# Facts that weights and file must share.
COMPARED = ("grid", "view", "image_size", "mean", "std", "memory_shape", "camera_params", "classes")


class TorchEngine:
    """A student in eager PyTorch on the CPU, float32."""

    name = "torch"
    not_kept = ""

    def __init__(self, student: Student, cameras: int, options: EngineOptions) -> None:
        """Load the weights. Raises EngineError without them or if they do not fit."""
        weights = student.path.with_suffix(".safetensors")
        try:
            model = load_model(weights).to(memory_format=torch.channels_last)
        except KdError as error:
            raise EngineError(f"the torch engine needs the weights next to the student file: {error}") from error
        theirs, ours = model.spec, student.spec
        if any(getattr(theirs, name) != getattr(ours, name) for name in COMPARED):
            raise EngineError(f"{weights} is another model than {student.path}; export both again with kd export")
        if options.threads:
            torch.set_num_threads(options.threads)
        self._network = ModelEngine(model)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs -> named outputs."""
        return self._network.run(inputs)
