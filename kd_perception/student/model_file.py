"""Files that kd export writes, read alike: one ONNX file with one JSON of ours in its metadata."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kd_perception.errors import StudentError
from kd_perception.student.box_codes import BoxCoding

if TYPE_CHECKING:
    from onnx import ModelProto

KINDS = {"kd_student": "student", "kd_teacher": "teacher"}  # key of the metadata -> what the file is


@dataclass(frozen=True)
class ReadModel:
    """A file as it was read: the graph, our metadata in it, and the hash of its bytes."""

    model: "ModelProto"
    metadata: str
    sha256: str


def read_model(path: Path, key: str, kind: str) -> ReadModel:
    """Read a file whose metadata has `key`; raises StudentError if it is missing, truncated or no such `kind`."""
    import onnx  # only here: engines that never read metadata need no onnx

    if not path.is_file():
        raise StudentError(f"{kind} file {path} does not exist; give the path of a file written by kd export")
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf raises its own types
        raise StudentError(
            f"{path} is no readable ONNX file (truncated or another format); copy or export it again"
        ) from error
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if key not in properties:
        other = next((f"a {name}" for known, name in KINDS.items() if known in properties), "an ONNX file")
        raise StudentError(f"{path} is {other} but no {kind}: it lacks the '{key}' metadata that kd export writes")
    return ReadModel(model, properties[key], hashlib.sha256(data).hexdigest())


def check_codes(model: "ModelProto", regression: str, coding: BoxCoding, path: Path) -> None:
    """Raise StudentError if the output `regression` has another number of codes than its heading's coding."""
    shapes = {output.name: output.type.tensor_type.shape.dim for output in model.graph.output}
    dimensions = shapes.get(regression, ())
    codes = dimensions[1].dim_value if len(dimensions) > 1 else 0  # 0: not stated
    if codes not in (0, len(coding.names)):
        raise StudentError(
            f"{path}: its regression has {codes} codes, but its heading '{coding.heading}' means "
            f"{len(coding.names)}; export it again with kd export"
        )
