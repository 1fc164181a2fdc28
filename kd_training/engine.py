"""The PyTorch engine: the reference that other engines are compared with; registered as `torch` in the entry points
kd.engines.

It runs the network code of kd_training with the weights (.safetensors) that `kd export` writes beside the student file.
"""

from collections.abc import Mapping

import numpy as np
import torch

from kd_perception.errors import EngineError, KdError
from kd_perception.student import Student
from kd_training.export import OUTPUTS
from kd_training.run import load_model


class TorchEngine:
    """A student in eager PyTorch on the CPU, float32."""

    name = "torch"

    def __init__(self, student: Student, cameras: int, threads: int) -> None:
        """Load the weights; `threads` 0 lets PyTorch choose. Raises EngineError without them or if they do not fit."""
        weights = student.path.with_suffix(".safetensors")
        try:
            self._model = load_model(weights).to(memory_format=torch.channels_last)
        except KdError as error:
            raise EngineError(f"the torch engine needs the weights beside the student file: {error}") from error
        theirs, ours = self._model.spec, student.spec
        if (theirs.grid, theirs.view, theirs.image_size, theirs.mean, theirs.std) != (
            ours.grid,
            ours.view,
            ours.image_size,
            ours.mean,
            ours.std,
        ):
            raise EngineError(f"{weights} is another model than {student.path}; export both again with kd export")
        if threads:
            torch.set_num_threads(threads)
        self._inputs = ("images", "camera_valid", *self._model.view.table_names)

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs -> named outputs."""
        missing = [name for name in self._inputs if name not in inputs]
        if missing:
            raise EngineError(f"torch: input '{missing[0]}' is missing; it has {', '.join(sorted(inputs))}")
        with torch.inference_mode():
            outputs = self._model(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self._inputs))
        return dict(zip(OUTPUTS, (value.numpy() for value in outputs), strict=True))
