"""The precisions of a file, as an engine's builder meets them: FP32, FP16 behind casts, symmetric int8 Q/DQ.

Ranges come from one example, often noise, so these files show what engines take and how fast it is, not how accurate.
"""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx

from kd_perception.student.spec import METADATA_KEY, Student, load_student
from kd_training.checkpoints.onnx_files import add_metadata
from kd_training.quantise.frames import RecordedFrame
from kd_training.quantise.graph import OnnxGraph
from kd_training.quantise.half import to_half
from kd_training.quantise.prepare import prepare
from kd_training.quantise.qdq import insert
from kd_training.quantise.quantising import calibrated, rounded_layers, with_gathers
from kd_training.quantise.ranges import Method


class Precision(StrEnum):
    """What an engine is built in."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def with_precision(path: Path, precision: Precision, inputs: Mapping[str, np.ndarray]) -> Path:
    """The file in a precision, written next to it (the file itself in FP32); `inputs`: one frame, for ranges.

    The metadata stays that of the FP32 file. Raises StudentError for an operator that quantising does not know.
    """
    if precision is Precision.fp32:
        return path
    target = path.with_name(f"{path.stem}_{precision.value}{path.suffix}")
    model = onnx.load(str(path))
    onnx.save(to_half(model) if precision is Precision.fp16 else _to_int8(model, inputs), str(target))
    return target


def student_in_precision(student: Student, precision: Precision, inputs: Mapping[str, np.ndarray]) -> Student:
    """A student's file in a precision, written next to it, with metadata that say so; raises as with_precision."""
    target = with_precision(student.path, precision, inputs)
    add_metadata(target, METADATA_KEY, replace(student.spec, precision=precision.value).to_json())
    return load_student(target)


def _to_int8(model: onnx.ModelProto, inputs: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    graph = OnnxGraph.of(model)
    prepare(graph)
    _, ranges = calibrated(graph, [RecordedFrame(inputs, {})], lambda _: lambda done, total: None)
    scales, layers = ranges.scales(Method.percentile), [node.name for node in graph.convolutions]
    insert(graph, with_gathers(graph, rounded_layers(graph, layers, scales), scales))
    return graph.to_model()
