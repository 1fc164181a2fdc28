"""Multiply-accumulates of a graph's convolutions."""

from collections.abc import Mapping
from math import prod

from kd_training.quantise.graph import OnnxGraph


def convolution_macs(graph: OnnxGraph, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Convolution -> its MACs, from the shapes of its output and its weight."""
    return {
        node.name: prod(shapes[node.output[0]]) * prod(graph.constants[node.input[1]].shape[1:])
        for node in graph.convolutions
    }
