"""A configuration's network with random weights as a student file: speed and legality do not depend on training."""

from pathlib import Path

import torch

from kd_perception.student.spec import Student, load_student
from kd_training.checkpoints.checkpoint import save_weights
from kd_training.checkpoints.export import export_student
from kd_training.config.experiment import TrainConfig
from kd_training.models.students import build_student


def untrained_student(config: TrainConfig, folder: Path, seed: int = 0) -> Student:
    """Export the configuration's network, weights drawn from `seed`, and its .safetensors into `folder`."""
    torch.manual_seed(seed)
    model = build_student(config.model).eval()
    target = folder / f"{config.model.name}.onnx"
    export_student(model, target, {"data": "none: random weights"}, {}, {})
    save_weights(model.state_dict(), config, target.with_suffix(".safetensors"))
    return load_student(target)
