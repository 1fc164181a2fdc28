"""A student file cut into its three networks, so that each can be timed alone in any engine.

The cuts are where the module `view` begins and ends in the exported graph: image network (images to depth probability
and context), view transform (to the bird's-eye-view map), BEV network (to the outputs).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from onnx.utils import Extractor

from kd_perception.errors import StudentError
from kd_perception.student.spec import CAMERA_AXIS, Student

VIEW_SCOPE = "/view/"  # what the exporter prefixes the view transform's nodes with


@dataclass(frozen=True)
class SplitStudent:
    """The three parts as files of their own, camera count fixed; each part's outputs are inputs of a later one."""

    image_network: Student
    view_transform: Student
    bev_network: Student


def split_student(student: Student, cameras: int, folder: Path) -> SplitStudent:
    """Write the parts of `student` for a fixed camera count into `folder`.

    Raises StudentError if the file has no separate view transform.
    """
    model = onnx.load(str(student.path))
    _fix_cameras(model, cameras)
    lifted, bev = _cuts(model, student.path)
    del model.graph.value_info[:]  # shapes written down for any camera count
    extractor = Extractor(onnx.shape_inference.infer_shapes(model, data_prop=True))
    inputs = [value.name for value in model.graph.input]
    parts = []
    for name, earlier, targets in (
        ("image_network", [], lifted),
        ("view_transform", lifted, bev),
        ("bev_network", bev, list(student.spec.outputs)),
    ):
        path, needed = folder / f"{name}.onnx", _needed(model, targets, earlier)
        sources = [*earlier, *(name for name in inputs if name in needed)]
        onnx.save(extractor.extract_model(sources, targets), str(path))
        parts.append(replace(student, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))
    return SplitStudent(*parts)


def _needed(model: onnx.ModelProto, targets: Sequence[str], given: Sequence[str]) -> set[str]:
    """Names of all that `targets` are computed from, if `given` are there."""
    producer = {output: node for node in model.graph.node for output in node.output}
    needed, open_names = set(), [name for name in targets if name not in given]
    while open_names:
        name = open_names.pop()
        if name in needed:
            continue
        needed.add(name)
        if name in producer:
            open_names += [source for source in producer[name].input if source not in given]
    return needed


def _fix_cameras(model: onnx.ModelProto, cameras: int) -> None:
    for value in model.graph.input:
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param == CAMERA_AXIS:
                dimension.dim_value = cameras


def _cuts(model: onnx.ModelProto, path: Path) -> tuple[list[str], list[str]]:
    """Names of the tensors that enter and leave the view transform; constants count as part of whoever uses them."""
    in_view, producer = set(), {}
    computed = {value.name for value in model.graph.input}  # what depends on an input, so is no constant
    for node in model.graph.node:
        if computed.intersection(node.input):
            computed.update(node.output)
        producer.update(dict.fromkeys(node.output, node.name))
        if node.name.startswith(VIEW_SCOPE):
            in_view.add(node.name)
    entering, leaving = [], []
    for node in model.graph.node:
        for name in node.input:
            if name not in computed or name not in producer:
                continue
            if node.name in in_view and producer[name] not in in_view and name not in entering:
                entering.append(name)
            if node.name not in in_view and producer[name] in in_view and name not in leaving:
                leaving.append(name)
    if len(entering) < 2 or len(leaving) != 1:
        raise StudentError(
            f"{path} has no separate view transform to time (scope {VIEW_SCOPE}); export it with kd export"
        )
    return entering, leaving
