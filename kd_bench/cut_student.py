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

VIEW_SCOPE, BACKBONE_SCOPE = "/view/", "/backbone/"  # what the exporter prefixes a module's nodes with
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


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
    cutter = _Cutter(student, cameras, folder)
    lifted, bev = _borders(cutter.model, VIEW_SCOPE)
    if len(lifted) < 2 or len(bev) != 1:
        raise StudentError(
            f"{student.path} has no separate view transform to time (scope {VIEW_SCOPE}); export it with kd export"
        )
    return SplitStudent(
        cutter.part("image_network", [], lifted),
        cutter.part("view_transform", lifted, bev),
        cutter.part("bev_network", bev, list(student.spec.outputs)),
    )


def backbone_alone(student: Student, cameras: int, folder: Path) -> Student:
    """The image backbone with the preparation of its input, as a file of its own in `folder`.

    Raises StudentError if the file has none.
    """
    cutter = _Cutter(student, cameras, folder)
    _, levels = _borders(cutter.model, BACKBONE_SCOPE)
    if not levels:
        raise StudentError(f"{student.path} has no image backbone (scope {BACKBONE_SCOPE}); export it with kd export")
    return cutter.part("backbone", [], levels)


class _Cutter:
    """Writes parts of a student file, its camera count fixed, into a folder."""

    def __init__(self, student: Student, cameras: int, folder: Path) -> None:
        self.model = onnx.load(str(student.path))
        _fix_cameras(self.model, cameras)
        del self.model.graph.value_info[:]  # shapes written down for any camera count
        self._extractor = Extractor(onnx.shape_inference.infer_shapes(self.model, data_prop=True))
        self._student, self._folder = student, folder

    def part(self, name: str, earlier: Sequence[str], targets: Sequence[str]) -> Student:
        """What computes the `targets` from the file's inputs, and from tensors that an `earlier` part gives."""
        path, needed = self._folder / f"{name}.onnx", _needed(self.model, targets, earlier)
        sources = [*earlier, *(value.name for value in self.model.graph.input if value.name in needed)]
        onnx.save(self._extractor.extract_model(sources, targets), str(path))
        return replace(self._student, path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


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


def _borders(model: onnx.ModelProto, scope: str) -> tuple[list[str], list[str]]:
    """Names of the tensors that enter and leave a scope; constants count as part of whoever uses them.

    A quantiser belongs to whoever makes the tensor that it rounds, whatever its name.
    """
    inside: list[bool] = []  # of each node
    made_inside: dict[str, bool] = {}
    computed = {value.name for value in model.graph.input}  # what depends on an input, so is no constant
    for node in model.graph.node:
        if computed.intersection(node.input):
            computed.update(node.output)
        rounds = node.op_type in QUANTISERS and made_inside.get(node.input[0], False)
        inside.append(rounds or node.name.startswith(scope))
        made_inside.update(dict.fromkeys(node.output, inside[-1]))
    entering, leaving = [], []
    for node, reads_inside in zip(model.graph.node, inside, strict=True):
        for name in node.input:
            if name not in computed or name not in made_inside or made_inside[name] == reads_inside:
                continue
            crossed = entering if reads_inside else leaving
            if name not in crossed:
                crossed.append(name)
    return entering, leaving
