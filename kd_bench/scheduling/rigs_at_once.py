"""A student's network for several rigs in one call, to time it: a student file takes one rig."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kd_perception.errors import StudentError
from kd_perception.student.spec import Student
from kd_training.batches.student_inputs import CameraInputs
from kd_training.checkpoints.export import example_inputs
from kd_training.checkpoints.models import load_model
from kd_training.checkpoints.onnx_files import ExampleInputs, write_graph
from kd_training.models.students.camera_student import CameraStudent


class RigsAtOnce(nn.Module):
    """A single-frame student for `rigs` rigs: image and BEV networks run once for all, the view transform for each."""

    def __init__(self, student: CameraStudent, rigs: int) -> None:
        super().__init__()
        self.student, self.rigs = student, rigs

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs as `CameraStudent.forward`, the rigs behind each other -> heatmaps (rigs, classes, rows, columns),
        regressions (rigs, groups, codes, rows, columns)."""
        cameras, tables, _ = self.student.split_inputs(inputs)
        lifted = self.student.image_network(cameras)
        each = zip(
            *(part.chunk(self.rigs) for part in lifted), *(table.chunk(self.rigs) for table in tables), strict=True
        )
        maps = [self._bev_map(cameras, parts[: len(lifted)], parts[len(lifted) :]) for parts in each]
        heatmap, regression = self.student.head(self.student.encoder(torch.cat(maps)))
        return torch.sigmoid(heatmap), regression

    def _bev_map(self, cameras: CameraInputs, lifted: tuple[Tensor, ...], tables: tuple[Tensor, ...]) -> Tensor:
        return self.student.bev_map(lifted, cameras, tables, ())


@dataclass(frozen=True)
class RigsFile:
    """The file of a network for `rigs` rigs, as engines open it, and inputs that fit."""

    file: Student
    rigs: int
    cameras: int
    example: ExampleInputs


def write_rigs_file(student: Student, rigs: int, folder: Path) -> RigsFile:
    """Write the network of a student (its weights next to its file) for several rigs of its trained camera count.

    Raises StudentError for a student whose BEV half or memory belongs to one rig.
    """
    model = load_model(student.path.with_suffix(".safetensors")).eval()
    if model.spec.memory is not None or model.spec.view.kind != "pull":
        raise StudentError(f"{student.path} has memory, or no tables of fixed size; give a single-frame pull student")
    one = example_inputs(model, model.spec.trained_cameras)
    arrays = tuple(np.concatenate([array] * rigs) for array in one.arrays)
    example = ExampleInputs(one.names, arrays)
    path = folder / f"{rigs}_rigs.onnx"
    write_graph(RigsAtOnce(model, rigs), example, student.spec.outputs, path, dynamic={})
    file = replace(student, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    return RigsFile(file, rigs, rigs * model.spec.trained_cameras, example)
