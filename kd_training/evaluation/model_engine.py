"""A model in memory behind the protocol of engines, so that what runs on a robot also runs what is being trained."""

from collections.abc import Mapping

import numpy as np
import torch

from kd_perception.errors import InputError
from kd_training.models.students.camera_student import CameraStudent
from kd_training.models.teachers.file_network import TeacherFileNetwork


class ModelEngine:
    """A model in memory, run as an engine runs a file: eager, float32, on the device where the model is."""

    name = "torch"
    not_kept = ""

    def __init__(self, model: CameraStudent | TeacherFileNetwork) -> None:
        self._model = model.eval()
        self._inputs, self._device = model.input_names, next(model.parameters()).device

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs -> named outputs."""
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise InputError(f"torch: input '{missing[0]}' is missing; it has {', '.join(sorted(inputs))}")
        with torch.inference_mode():
            outputs = self._model(*(_tensor(inputs[name]).to(self._device) for name in self._inputs))
        return dict(zip(self._model.spec.outputs, (value.cpu().numpy() for value in outputs), strict=True))


def _tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor over the array's memory; of a read-only one, which PyTorch warns of, over a copy."""
    return torch.from_numpy(np.require(array, requirements="CW"))
