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
        if room <= 0.0:
            continue  # silent on all frames: nothing says how large its channels are
        factor = np.clip(room / np.maximum(used, room / MOST), 1.0, MOST).astype(np.float32)
        groups = attributes(second).get("group", 1)
        if groups == 1:  # its scales are per output channel: what shrinks loses precision
            factor = np.sqrt(factor)
        for place in (1, 2):
            value = graph.constants[first.input[place]]
            _replace(graph, first, place, value * factor.reshape(-1, *[1] * (value.ndim - 1)))
        weight = graph.constants[second.input[1]]  # (outgoing, incoming of a group, rows, columns)
        of_group = weight.reshape(groups, -1, *weight.shape[1:]) / factor.reshape(groups, 1, -1, 1, 1)
        _replace(graph, second, 1, of_group.reshape(weight.shape))
    return len(pairs)


def _pair(graph: OnnxGraph, first: NodeProto) -> tuple[NodeProto, NodeProto, NodeProto] | None:
    """A convolution, its activation, and the only convolution behind it, if one of the two is depthwise."""
    activation = graph.only_reader(first.output[0], ["Relu", "Clip"])
    if activation is None or len(first.input) < 3 or first.input[2] not in graph.constants:
        return None
    if activation.op_type == "Clip" and _bound(graph, activation, 1) != 0.0:
        return None
    if np.isnan(_ceiling(graph, activation)):
        return None
    second = graph.only_reader(activation.output[0], ["Conv"])
    if second is None or second.input[1] not in graph.constants:
        return None
    return (first, activation, second) if _depthwise(graph, first) or _depthwise(graph, second) else None


def _depthwise(graph: OnnxGraph, node: NodeProto) -> bool:
    return attributes(node).get("group", 1) == len(graph.constants[node.input[1]]) > 1


def _ceiling(graph: OnnxGraph, activation: NodeProto) -> float:
    return _bound(graph, activation, 2) if activation.op_type == "Clip" else np.inf


def _bound(graph: OnnxGraph, clip: NodeProto, place: int) -> float:
    """The lower (place 1) or upper (2) bound of a Clip: infinite where it has none, NaN where it is not constant."""
    name = clip.input[place] if len(clip.input) > place else ""
    return float(graph.constants.get(name, np.nan)) if name else (-np.inf if place == 1 else np.inf)


def _replace(graph: OnnxGraph, node: NodeProto, place: int, value: np.ndarray) -> None:
    """Give a node a constant of its own: another node may read the one that it had."""
    name = f"{node.name}/equalised_{place}"
    graph.constants[name] = value.astype(np.float32)
    node.input[place] = name
