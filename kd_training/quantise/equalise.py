"""Ranges of channels made alike across pairs of convolutions (arXiv:1906.04721), so that one scale suits them all.

Between two convolutions, one of them depthwise, an activation with max(0, x) passes a positive factor: a channel that
uses little of the tensor's range is made larger by the first convolution and smaller again by the second. Per-channel
scales of the weights make that free. Of ReLU6 a channel grows at most as far as the calibration saw room below 6.
"""

from collections.abc import Mapping

import numpy as np
from onnx import NodeProto
from torch import Tensor

from kd_training.quantise.graph import OnnxGraph, attributes

MOST = 16.0  # times that a channel grows: what is almost never there would become noise


def equalise(graph: OnnxGraph, greatest: Mapping[str, Tensor]) -> int:
    """Equalise in place; how many pairs there were. greatest: of tensors, the greatest absolute value per channel."""
    pairs = [pair for node in graph.convolutions if (pair := _pair(graph, node)) is not None]
    for first, activation, second in pairs:
        used = greatest[activation.output[0]].numpy()
        room = min(float(used.max()), _ceiling(graph, activation))
        factor = np.clip(room / np.maximum(used, room / MOST), 1.0, MOST).astype(np.float32)
        if attributes(second)["group"] == 1:  # its scales are per output channel: what shrinks loses precision
            factor = np.sqrt(factor)
        _multiply(graph, first.input[1], factor, 0)
        _multiply(graph, first.input[2], factor, 0)
        _multiply(graph, second.input[1], 1.0 / factor, 0 if attributes(second)["group"] > 1 else 1)
    return len(pairs)


def _pair(graph: OnnxGraph, first: NodeProto) -> tuple[NodeProto, NodeProto, NodeProto] | None:
    """A convolution, its activation, and the only convolution behind it, if one of the two is depthwise."""
    activation = graph.only_reader(first.output[0], ["Relu", "Clip"])
    if activation is None or len(first.input) < 3:
        return None
    if activation.op_type == "Clip" and float(graph.constants[activation.input[1]]) != 0.0:
        return None
    second = graph.only_reader(activation.output[0], ["Conv"])
    if second is None or second.input[1] not in graph.constants:
        return None
    return (first, activation, second) if _depthwise(graph, first) or _depthwise(graph, second) else None


def _depthwise(graph: OnnxGraph, node: NodeProto) -> bool:
    return attributes(node)["group"] == len(graph.constants[node.input[1]]) > 1


def _ceiling(graph: OnnxGraph, activation: NodeProto) -> float:
    return float(graph.constants[activation.input[2]]) if activation.op_type == "Clip" else np.inf


def _multiply(graph: OnnxGraph, name: str, factor: np.ndarray, axis: int) -> None:
    """Multiply a constant by a factor along an axis."""
    value = graph.constants[name]
    shape = [-1 if place == axis else 1 for place in range(value.ndim)]
    graph.constants[name] = value * factor.reshape(shape)
