"""A network's operators as an engine runs them, fused as they are there: work, bytes and time of each.

Times come from the engine's own profile, shapes from what it reports of the graph that it runs.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime

from kd_perception.engines.onnxruntime import session_settings
from kd_perception.engines.openvino import THREADS, compile_for
from kd_perception.student.spec import CAMERA_AXIS, Student

WARM_UP = 3
IMAGE, VIEW, BEV, ELSE = "image network", "view transform", "BEV network", "rest"
# Scope of the exporter's node names -> part of the network, and stage as the report names it.
SCOPES = (
    ("backbone", IMAGE, "backbone"),
    ("neck", IMAGE, "neck"),
    ("depth_context", IMAGE, "depth and context"),
    ("view", VIEW, "view transform"),
    ("(enter|down_|lateral_|merge_)", BEV, "BEV encoder"),
    ("fusion", BEV, "memory"),
    ("motion", BEV, "motion"),
    ("(shared|heatmap|regression|head)", BEV, "heads"),
)
WEIGHTED = ("Conv", "MatMul", "FullyConnected", "Gemm")  # kinds of operators that multiply and add
SIZES = {"f32": 4, "i32": 4, "i64": 8, "i8": 1, "u8": 1, "f16": 2, "bf16": 2, "boolean": 1, "u32": 4}
SIZES |= {"float": 4, "int32": 4, "int64": 8, "int8": 1, "uint8": 1, "float16": 2, "bool": 1}


@dataclass(frozen=True)
class Operator:
    """One operator that an engine runs.

    names: of the file's nodes in it; part and stage: where it stands in the network; precision: "fp32" or "int8";
    macs: multiply-adds; moved: bytes read and written, weights included; ms: per run, the best of all.
    """

    name: str
    names: tuple[str, ...]
    kind: str
    precision: str
    macs: float
    moved: float
    ms: float
    part: str = ELSE
    stage: str = ELSE


def openvino_operators(
    student: Student, cameras: int, threads: int, inputs: Mapping[str, np.ndarray], rounds: int
) -> list[Operator]:
    """In the order in which OpenVINO runs them, without what takes no time."""
    compiled = compile_for(student, cameras, {THREADS: threads, "PERF_COUNT": True}).model
    request, times = compiled.create_infer_request(), defaultdict(list)
    used = {port.any_name: inputs[port.any_name] for port in compiled.inputs}
    for index in range(WARM_UP + rounds):
        request.infer(used, share_inputs=True, share_outputs=True)
        for entry in request.get_profiling_info() if index >= WARM_UP else ():
            times[entry.node_name].append(1e3 * entry.real_time.total_seconds())
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        ms = min(times.get(node.get_friendly_name(), [0.0]))
        if ms > 0.0:
            found.append(_openvino_operator(node, ms))
    return with_stages(found)


def onnxruntime_operators(
    student: Student, cameras: int, threads: int, inputs: Mapping[str, np.ndarray], rounds: int
) -> list[Operator]:
    """In the order in which ONNX Runtime runs them."""
    settings = session_settings({CAMERA_AXIS: cameras}, threads)
    settings.enable_profiling = True
    with TemporaryDirectory() as folder:
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(student.path), settings, providers=["CPUExecutionProvider"])
        used = {port.name: inputs[port.name] for port in session.get_inputs()}
        for _ in range(WARM_UP + rounds):
            session.run(None, used)
        events = json.loads(Path(session.end_profiling()).read_text())
    return with_stages(operators_of_profile(events))


def operators_of_profile(events: Iterable[Mapping]) -> list[Operator]:
    """The operators of an ONNX Runtime profile, which has an entry for each run; the first WARM_UP do not count."""
    runs: dict[str, list[Mapping]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            runs[event["name"].removesuffix("_kernel_time")].append(event)
    found = []
    for name, entries in runs.items():
        counted = entries[WARM_UP:] or entries
        ms = min(1e-3 * entry["dur"] for entry in counted)
        facts = counted[-1]["args"]
        read, written = _ports(facts["input_type_shape"]), _ports(facts["output_type_shape"])
        kind = facts["op_name"]
        precision = "int8" if kind.startswith(("QLinear", "MatMulInteger", "ConvInteger")) else "fp32"
        weight = next((shape for _, shape in read[1:] if len(shape) > 1 and "QLinear" not in kind), ())
        if "QLinear" in kind and len(read) > 3:
            weight = read[3][1]
        moved = sum(SIZES.get(type_name, 4) * prod(shape) for type_name, shape in (*read, *written))
        macs = multiply_adds(kind, weight, read[0][1] if read else (), written[0][1] if written else ())
        found.append(Operator(name, (name,), kind, precision, macs, moved, ms))
    return found


def multiply_adds(kind: str, weight: Sequence[int], taken: Sequence[int], given: Sequence[int]) -> float:
    """Of an operator with a weight; 0 of any other.

    A convolution's weight is (outgoing, incoming of a group, ...), or (groups, outgoing, incoming, ...) as OpenVINO
    keeps it; a product sums over the last axis of what it takes.
    """
    if not any(word in kind for word in WEIGHTED) or not given:
        return 0.0
    if "Conv" in kind:
        return float(prod(given) * prod(weight[2 if len(weight) > len(given) else 1 :]))
    return float(prod(given) * taken[-1]) if taken else 0.0


def with_stages(operators: Sequence[Operator]) -> list[Operator]:
    """Each with the part and stage that its nodes' scope says; one without belongs to the operator before it.

    At the beginning, where there is none before it, to the first that has a scope.
    """
    places = [_place(operator.names) for operator in operators]
    first = next((place for place in places if place is not None), (ELSE, ELSE))
    placed, last = [], first
    for operator, place in zip(operators, places, strict=True):
        last = place or last
        placed.append(replace(operator, part=last[0], stage=last[1]))
    return placed


def _place(names: Iterable[str]) -> tuple[str, str] | None:
    for name in names:
        for scope, part, stage in SCOPES:
            if re.match(rf"/{scope}[^/]*/", name):
                return part, stage
        if match := re.match(r"/([a-z]\w*?)(\.\d+)?/", name):
            return ELSE, match[1]
    return None


def _openvino_operator(node, ms: float) -> Operator:  # noqa: ANN001 - openvino's types have no stable name
    facts = {key: str(node.get_rt_info()[key].astype(str)) for key in ("layerType", "originalLayersNames")}
    kind = facts["layerType"]
    read = [(port.get_element_type().get_type_name(), _sizes(port)) for port in node.inputs()]
    written = [(port.get_element_type().get_type_name(), _sizes(port)) for port in node.outputs()]
    moved = sum(SIZES.get(type_name, 4) * prod(shape) for type_name, shape in (*read, *written))
    weight = read[1][1] if len(read) > 1 else ()
    macs = multiply_adds(kind, weight, read[0][1] if read else (), written[0][1] if written else ())
    precision = "int8" if read and read[0][0] in ("i8", "u8") and macs else "fp32"
    names = tuple(name for name in facts["originalLayersNames"].split(",") if name)
    return Operator(node.get_friendly_name(), names, kind, precision, macs, moved, ms)


def _sizes(port) -> tuple[int, ...]:  # noqa: ANN001 - as above
    shape = port.get_partial_shape()
    return () if shape.is_dynamic else tuple(shape.to_shape())


def _ports(described: Sequence[Mapping[str, Sequence[int]]]) -> list[tuple[str, tuple[int, ...]]]:
    """Type and shape of each port of ONNX Runtime's profile."""
    return [(type_name, tuple(shape)) for port in described for type_name, shape in port.items()]
