"""A small FP32 student file with random weights, and frames as a recording of it gives."""

from pathlib import Path

import numpy as np
import torch

from kd_perception.engines.base import open_engine
from kd_perception.student.spec import Student, load_student
from kd_training.checkpoints.export import example_inputs, export_student
from kd_training.config.sections import GridConfig, ModelConfig, TemporalConfig
from kd_training.models.students import build_student
from kd_training.quantise.frames import RecordedFrame, Recorder
from support.students import PULL, shake

CAMERAS = 2


def small_file(path: Path) -> tuple[Student, list[RecordedFrame]]:
    """A temporal student of 2 cameras, 64x96 pixels and 32x32 cells at `path`, and 8 frames of it."""
    torch.manual_seed(0)
    model = build_student(
        ModelConfig(
            name="small", image_height=64, image_width=96, cameras=CAMERAS, neck_channels=16, context_channels=8,
            bev_channels=16, bev_blocks=1, head_shared=16, head_hidden=16, view=PULL,
            grid=GridConfig(extent=12.8), temporal=TemporalConfig(frames=2),
        )
    ).eval()  # fmt: skip
    model = shake(model)
    export_student(model, path, {"data": "none"}, {"mAP": 0.5}, {})
    student = load_student(path)
    recorder = Recorder(open_engine("openvino", student, CAMERAS))
    inputs, rng = example_inputs(model, CAMERAS).by_name, np.random.default_rng(0)
    for _ in range(8):
        inputs["images"] = rng.integers(0, 256, inputs["images"].shape, np.uint8)
        recorder.run(inputs)
    return student, recorder.frames
