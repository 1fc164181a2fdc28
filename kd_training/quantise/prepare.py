"""A change that leaves a graph's results as they are and makes it better to quantise: batch norms are folded away."""

import numpy as np
from onnx import NodeProto

from kd_training.quantise.graph import OnnxGraph, attributes


def prepare(graph: OnnxGraph) -> None:
    """Fold every batch norm behind a convolution, or behind the sum of two."""
    for node in [node for node in graph.nodes if node.op_type == "BatchNormalization"]:
        _fold_norm(graph, node)


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
