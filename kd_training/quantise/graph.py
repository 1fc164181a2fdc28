"""An exported graph while it is edited: constants as arrays, nodes by what they make and what they read."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper


@dataclass
class OnnxGraph:
    """Nodes in order, and constants by name; `model` keeps inputs, outputs and metadata.

    Whoever changes `nodes` calls `changed`.
    """

    model: onnx.ModelProto
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    @staticmethod
    def of(model: onnx.ModelProto) -> "OnnxGraph":
        """The graph of a model; nodes that only hold or name a constant become constants."""
        graph = OnnxGraph(model, [], {entry.name: numpy_helper.to_array(entry) for entry in model.graph.initializer})
        for node in model.graph.node:
            if node.op_type == "Constant":
                graph.constants[node.output[0]] = numpy_helper.to_array(attributes(node)["value"])
            elif (
                node.op_type == "Identity" and node.input[0] in graph.constants and node.output[0] not in graph.outputs
            ):
                graph.constants[node.output[0]] = graph.constants[node.input[0]]  # exporters share equal constants so
            else:
                graph.nodes.append(node)
        return graph

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the graph gives."""
        return tuple(value.name for value in self.model.graph.output)

    @property
    def convolutions(self) -> list[NodeProto]:
        """Convolutions with constant weights."""
        return [node for node in self.nodes if node.op_type == "Conv" and node.input[1] in self.constants]

    @cached_property
    def producer(self) -> dict[str, NodeProto]:
        """tensor -> the node that makes it; constants and inputs have none."""
        return {name: node for node in self.nodes for name in node.output}

    @cached_property
    def readers(self) -> dict[str, list[NodeProto]]:
        """tensor -> the nodes that read it."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return found

    def only_reader(self, name: str, kinds: Sequence[str]) -> NodeProto | None:
        """The one node that reads a tensor, if it is of one of these kinds and no output of the graph is read."""
        nodes = self.readers.get(name, [])
        alone = len(nodes) == 1 and nodes[0].op_type in kinds and name not in self.outputs
        return nodes[0] if alone else None

    def changed(self) -> None:
        """Forget what was looked up of the nodes as they were."""
        for name in ("producer", "readers"):
            self.__dict__.pop(name, None)

    def to_model(self) -> onnx.ModelProto:
        """The edited model: nodes in an order in which each follows what it reads, and the constants in use."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        del model.graph.node[:], model.graph.initializer[:], model.graph.value_info[:]
        model.graph.node.extend(self._sorted())
        used = {name for node in self.nodes for name in node.input}
        kept = [numpy_helper.from_array(value, name) for name, value in self.constants.items() if name in used]
        model.graph.initializer.extend(kept)
        return model

    def _sorted(self) -> list[NodeProto]:
        made = {*self.constants, *(value.name for value in self.model.graph.input), ""}
        waiting, ordered = list(self.nodes), []
        while waiting:
            ready = [node for node in waiting if made.issuperset(node.input)]
            if not ready:
                raise ValueError(f"nodes wait for each other: {waiting[0].name}")
            ordered += ready
            made.update(name for node in ready for name in node.output)
            done = {id(node) for node in ready}
            waiting = [node for node in waiting if id(node) not in done]
        return ordered


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name, as Python values."""
    return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
