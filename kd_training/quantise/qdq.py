"""Symmetric int8 in a graph: which tensors and layers, and the QuantizeLinear and DequantizeLinear that say so.

Scales have no zero point (S8S8), which TensorRT demands and every engine takes; weights have one scale per output
channel and are stored as int8.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, helper

from kd_training.quantise.graph import OnnxGraph

LEVELS = 127  # int8 values used on each side of 0 by weights; activations saturate at -128 and 127
THROUGH = ("Split", "MaxPool")  # operators that move values: a scale before them holds behind them
LAYOUTS, PARTS = ("Transpose", "Reshape"), ("Slice", "Split")  # that order values for a gather, that take some of them


@dataclass(frozen=True)
class Quantised:
    """layers: names of the convolutions in int8; scales: of the tensors that are rounded, value = scale x int8."""

    layers: frozenset[str]
    scales: Mapping[str, float]


def rounded_tensors(graph: OnnxGraph, layers: Collection[str]) -> list[str]:
    """The tensors to round for layers to be int8: what the layers read, before operators that only move values."""
    found = dict.fromkeys(source_of(graph, node.input[0]) for node in graph.convolutions if node.name in layers)
    return list(found)


def source_of(graph: OnnxGraph, name: str) -> str:
    """The tensor whose values a tensor has, before operators that only move values."""
    return _before(graph, name, THROUGH)


def gathered_features(graph: OnnxGraph) -> list[str]:
    """Features of a convolution whose pixels a view transform gathers, by indices that come with every frame.

    A gathered row is a quarter as long in int8, and engines carry a scale past a gather.
    """
    found: dict[str, None] = {}
    for node in graph.nodes:
        if node.op_type == "Gather" and node.input[1] not in graph.constants:
            name = _before(graph, node.input[0], LAYOUTS)
            maker = graph.producer.get(_before(graph, name, PARTS))
            if maker is not None and maker.op_type == "Conv":
                found[name] = None
    return list(found)


def _before(graph: OnnxGraph, name: str, kinds: Collection[str]) -> str:
    """The tensor that operators of these kinds made another of, step by step."""
    node = graph.producer.get(name)
    while node is not None and node.op_type in kinds:
        name = node.input[0]
        node = graph.producer.get(name)
    return name


def weight_scales(weight: np.ndarray) -> np.ndarray:
    """Per output channel (outgoing,) float32 of a weight (outgoing, incoming, rows, columns)."""
    greatest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
    return np.maximum(greatest / LEVELS, np.finfo(np.float32).tiny * LEVELS).astype(np.float32)


def insert(graph: OnnxGraph, quantised: Quantised) -> None:
    """Round the tensors and weights of `quantised` in the graph, in place; graph outputs stay as they were."""
    for name, scale in quantised.scales.items():
        _round_tensor(graph, name, scale)
    for node in graph.convolutions:
        if node.name in quantised.layers:
            _round_weight(graph, node)
    graph.changed()


def _round_tensor(graph: OnnxGraph, name: str, scale: float) -> None:
    """Let every reader of a tensor read its rounded value."""
    graph.constants[f"{name}/scale"] = np.array(scale, np.float32)
    graph.constants[f"{name}/zero"] = np.array(0, np.int8)
    settings = [f"{name}/scale", f"{name}/zero"]
    for node in graph.readers.get(name, ()):
        node.input[:] = [f"{name}/rounded" if read == name else read for read in node.input]
    graph.nodes += [
        helper.make_node("QuantizeLinear", [name, *settings], [f"{name}/int8"], f"{name}/QuantizeLinear"),
        helper.make_node(
            "DequantizeLinear", [f"{name}/int8", *settings], [f"{name}/rounded"], f"{name}/DequantizeLinear"
        ),
    ]


def _round_weight(graph: OnnxGraph, node: NodeProto) -> None:
    weight = graph.constants[node.input[1]]
    scale = weight_scales(weight)
    whole = np.clip(np.rint(weight / scale[:, None, None, None]), -LEVELS, LEVELS).astype(np.int8)
    name = f"{node.name}/weight"
    graph.constants |= {f"{name}_int8": whole, f"{name}_scale": scale, f"{name}_zero": np.zeros(len(scale), np.int8)}
    inputs = [f"{name}_int8", f"{name}_scale", f"{name}_zero"]
    graph.nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}_rounded"], f"{name}_dequantise", axis=0))
    node.input[1] = f"{name}_rounded"
