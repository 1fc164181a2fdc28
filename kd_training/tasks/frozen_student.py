"""A frozen student that answers for another's batches: the one that an update begins from, or a camera teacher."""

from pathlib import Path

import torch

from kd_perception.errors import ConfigError
from kd_perception.resources import student_path
from kd_perception.student.spec import StudentSpec
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.student_inputs import StudentInputs
from kd_training.checkpoints.checkpoint import file_digest
from kd_training.checkpoints.models import load_model

OLD = "continual.student"  # the key that names the student of an update
TAKEN = ("grid", "view", "image_size", "camera_params")  # what both students must have alike


class FrozenStudent:
    """A student in evaluation mode, without gradients; no nn.Module, as FrozenTeacher.

    Raises ConfigError if there is none.
    """

    def __init__(self, given: str, key: str = OLD) -> None:
        """`given`: the value of `key` in the configuration."""
        weights = old_weights(given, key)
        self.given, self.digest = given, file_digest(weights)
        self.model = load_model(weights).to(memory_format=torch.channels_last).requires_grad_(requires_grad=False)

    def check_takes(self, spec: StudentSpec) -> None:
        """Raise ConfigError if it takes other inputs than the student `spec` does."""
        own = self.model.spec
        other = next((name for name in TAKEN if getattr(own, name) != getattr(spec, name)), "")
        if not other and own.memory is not None and spec.memory is None:
            other = "memory"
        if other:
            raise ConfigError(
                f"continual.student {self.given} has another {other} than the model of this configuration; an update "
                "keeps the old student's architecture: give it the configuration that the old one was trained with"
            )

    def outputs(self, inputs: StudentInputs) -> DetectorOutputs:
        """Predictions and features for a batch, on its device, in the precision of the autocast around it."""
        self.model.to(inputs.cameras.images.device)
        with torch.no_grad():
            return self.model.train_forward(inputs)


def old_weights(given: str, key: str = OLD) -> Path:
    """The weights that `key` names in the configuration: of a student file those that kd export wrote next to it.

    Raises ConfigError without them.
    """
    weights = student_path(Path(given)).with_suffix(".safetensors")
    if not weights.is_file():
        raise ConfigError(
            f"{key} is {given}, but the weights {weights} do not exist; give a student file (.onnx) with "
            "the weights that kd export writes next to it, or weights of kd train"
        )
    return weights
