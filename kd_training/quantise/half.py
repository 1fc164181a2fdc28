"""A student file in half precision: weights and features in FP16 behind casts; inputs, outputs and ranges stay FP32."""

from dataclasses import replace
from pathlib import Path

import onnx

from kd_perception.atomic import atomic_path
from kd_perception.commit import code_commit
from kd_perception.errors import StudentError
from kd_perception.student.spec import METADATA_KEY, Student
from kd_training.checkpoints.onnx_files import add_metadata
from kd_training.quantise.graph import OnnxGraph

# In FP32 on purpose: sums over many cells, probabilities, positions in metres and pixels, and what makes the images.
FULL_PRECISION = ("GridSample", "ReduceSum", "Resize", "Sigmoid", "Softmax")


def halve(student: Student, out: Path) -> None:
    """Write a FP32 student in FP16; raises StudentError if it is not FP32."""
    if student.spec.precision != "fp32":
        raise StudentError(f"{student.path} is in {student.spec.precision} already; give the FP32 file")
    facts = {"halved from": student.model_id, "halved by": code_commit()}
    spec = replace(student.spec, precision="fp16", accuracy={}, latency_ms={})
    spec = replace(spec, provenance={**student.spec.provenance, **facts})
    with atomic_path(out) as temporary:
        onnx.save(to_half(onnx.load(str(student.path))), str(temporary))
        add_metadata(temporary, METADATA_KEY, spec.to_json())


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with FP16 inside; every operator of FULL_PRECISION has casts around it."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    kept = [node.name for node in copy.graph.node if node.op_type in FULL_PRECISION]
    half = convert_float_to_float16(copy, keep_io_types=True, node_block_list=kept)
    return OnnxGraph.of(half).to_model()  # in order: the library puts casts at the end
