"""Changes that leave a graph's results as they are and make it better to quantise: batch norms folded away,
convolutions that share an input made one."""

from collections import defaultdict

import numpy as np
from onnx import NodeProto, helper

from kd_training.quantise.graph import OnnxGraph, attributes


def prepare(graph: OnnxGraph) -> None:
    """Fold every batch norm behind convolutions, or behind the sum of two; merge parallel convolutions."""
    for node in [node for node in graph.nodes if node.op_type == "BatchNormalization"]:
        _fold_norm(graph, node)
    _merge_parallel(graph)


def _fold_norm(graph: OnnxGraph, norm: NodeProto) -> None:
    """norm(a + b) = (scale a + shift) + scale b, where a and b are convolutions that nobody else reads."""
    before = graph.producer.get(norm.input[0])
    if before is None or graph.only_reader(norm.input[0], ["BatchNormalization"]) is None:
        return
    parts = [before] if before.op_type == "Conv" else [graph.producer.get(name) for name in before.input]
    foldable = [part is not None and part.op_type == "Conv" and part.input[1] in graph.constants for part in parts]
    if not all(foldable) or before.op_type not in ("Conv", "Add"):
        return
    if len({id(part) for part in parts}) < len(parts):
        return  # a convolution added to itself would be scaled twice
    read = [*norm.input[1:], *(name for part in parts for name in part.input[2:])]
    if any(name not in graph.constants for name in read):
        return
    if before.op_type == "Add" and any(graph.only_reader(part.output[0], ["Add"]) is None for part in parts):
        return
    gamma, beta, mean, variance = (graph.constants[name] for name in norm.input[1:])
    scale = gamma / np.sqrt(variance + attributes(norm).get("epsilon", 1e-5))
    for index, part in enumerate(parts):
        weight = graph.constants[part.input[1]]
        bias = graph.constants[part.input[2]] if len(part.input) > 2 else np.zeros(len(weight), np.float32)
        names = [f"{part.name}/folded_weight", f"{part.name}/folded_bias"]
        graph.constants[names[0]] = weight * scale.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float32)
        graph.constants[names[1]] = (bias * scale + (0.0 if index else beta - mean * scale)).astype(np.float32)
        part.input[:] = [part.input[0], *names]
    graph.nodes.remove(norm)
    before.output[0] = norm.output[0]
    graph.changed()


def _merge_parallel(graph: OnnxGraph) -> None:
    """Convolutions, each with an activation, of one input and one kernel: one convolution, its activation, a split."""
    groups: dict[tuple, list[tuple[NodeProto, NodeProto]]] = defaultdict(list)
    for node in graph.convolutions:
        after = graph.only_reader(node.output[0], ["Relu"])
        settings = attributes(node)
        if after is None or settings.get("group", 1) != 1 or len(node.input) != 3:
            continue
        if node.input[2] in graph.constants:
            kernel = graph.constants[node.input[1]].shape[1:]
            key = (node.input[0], kernel, tuple((name, str(value)) for name, value in sorted(settings.items())))
            groups[key].append((node, after))
    for members in groups.values():
        if len(members) > 1:
            _merge(graph, members)
    graph.changed()


def _merge(graph: OnnxGraph, members: list[tuple[NodeProto, NodeProto]]) -> None:
    first = members[0][0]
    name = f"{first.name}/merged_{len(members)}"
    sizes = [len(graph.constants[node.input[1]]) for node, _ in members]
    graph.constants[f"{name}/weight"] = np.concatenate([graph.constants[node.input[1]] for node, _ in members])
    graph.constants[f"{name}/bias"] = np.concatenate([graph.constants[node.input[2]] for node, _ in members])
    graph.constants[f"{name}/sizes"] = np.array(sizes, np.int64)
    inputs = [first.input[0], f"{name}/weight", f"{name}/bias"]
    merged = [
        helper.make_node("Conv", inputs, [f"{name}/convolved"], name, **attributes(first)),
        helper.make_node("Relu", [f"{name}/convolved"], [f"{name}/activated"], f"{name}/Relu"),
        helper.make_node(
            "Split", [f"{name}/activated", f"{name}/sizes"], [after.output[0] for _, after in members], f"{name}/Split",
            axis=1,
        ),
    ]  # fmt: skip
    place = next(index for index, node in enumerate(graph.nodes) if node is first)
    gone = {id(node) for pair in members for node in pair}
    rest = [node for node in graph.nodes[place:] if id(node) not in gone]
    graph.nodes[:] = [*graph.nodes[:place], *merged, *rest]
