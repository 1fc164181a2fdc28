"""A student file's graph in PyTorch, operator by operator, so that it can be observed, disturbed and trained.

It takes the file and not the network's code: what is calibrated and trained is exactly what is written, and a file of
any origin can be quantised.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from math import prod
from typing import Any

import numpy as np
import torch
from onnx import NodeProto
from torch import Tensor, nn
from torch.nn import functional

from kd_perception.errors import StudentError
from kd_training.quantise.graph import OnnxGraph, attributes

Change = Callable[[str, Tensor], Tensor]
NO_PADS = (0, 0, 0, 0)  # before rows, before columns, behind rows, behind columns
TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 10: torch.float16, 11: torch.float64}


class GraphNetwork(nn.Module):
    """The graph as a network; weights and biases of convolutions are its parameters, other constants stay.

    on_tensor(name, value) and on_weight(name of the convolution, weight) give what is used instead; they may be set.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        """Raises StudentError for an operator that is not known here."""
        super().__init__()
        unknown = sorted({node.op_type for node in graph.nodes} - set(OPERATORS) - {"Conv"})
        if unknown:
            raise StudentError(f"quantising knows no operator {', '.join(unknown)}; quantise a file of kd export")
        self.nodes, self.outputs = graph.nodes, graph.outputs
        learnt = {name for node in graph.convolutions for name in node.input[1:]}
        values = {name: torch.from_numpy(np.array(value)) for name, value in graph.constants.items()}
        self.learnt = {name: nn.Parameter(value) for name, value in values.items() if name in learnt}
        self.parameters_of_graph = nn.ParameterList(self.learnt.values())
        self.constants = {name: value for name, value in values.items() if name not in learnt}
        last = {name: index for index, node in enumerate(self.nodes) for name in node.input}
        self._finished: dict[int, list[str]] = {}
        for name, index in last.items():
            if name not in self.outputs:
                self._finished.setdefault(index, []).append(name)
        self.on_tensor: Change = lambda name, value: value
        self.on_weight: Change = lambda name, weight: weight

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The file's inputs by name -> its outputs by name."""
        values, answered = {**self.constants, **self.learnt}, {}
        values |= {name: self.on_tensor(name, value) for name, value in inputs.items()}
        for index, node in enumerate(self.nodes):
            read = [values[name] if name else None for name in node.input]
            made = self._convolve(node, read) if node.op_type == "Conv" else OPERATORS[node.op_type](node, read)
            for name, value in zip(node.output, made if isinstance(made, list | tuple) else [made], strict=True):
                values[name] = self.on_tensor(name, value)
                if name in self.outputs:
                    answered[name] = value  # what reads it may read it rounded, the file's caller does not
            for name in self._finished.get(index, ()):
                values.pop(name, None)
        return {name: answered[name] for name in self.outputs}

    def into(self, graph: OnnxGraph) -> None:
        """Write the parameters back into the graph that this was made of."""
        graph.constants |= {name: value.detach().numpy().copy() for name, value in self.learnt.items()}

    def _convolve(self, node: NodeProto, read: Sequence[Tensor]) -> Tensor:
        settings = attributes(node)
        value, pads = _padded(read[0], settings.get("pads", NO_PADS), 0.0)
        bias = read[2] if len(read) > 2 else None
        weight = self.on_weight(node.name, read[1])
        stride, dilation = settings.get("strides", (1, 1)), settings.get("dilations", (1, 1))
        return functional.conv2d(value, weight, bias, stride, pads, dilation, settings.get("group", 1))


def _padded(value: Tensor, pads: Sequence[int], fill: float) -> tuple[Tensor, tuple[int, int]]:
    """A map and the pads (rows, columns) that are left to do: PyTorch itself pads both sides alike."""
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return value, (top, left)
    return functional.pad(value, (left, right, top, bottom), value=fill), (0, 0)


def _convolve_transposed(node: NodeProto, read: Sequence[Any]) -> Tensor:
    settings = attributes(node)
    rows, columns = settings.get("pads", NO_PADS)[:2]
    return functional.conv_transpose2d(
        *read, stride=settings.get("strides", (1, 1)), padding=(rows, columns),
        output_padding=settings.get("output_padding", (0, 0)), groups=settings.get("group", 1),
        dilation=settings.get("dilations", (1, 1)),
    )  # fmt: skip


def _numbers(value: Tensor | None) -> list[int]:
    return [] if value is None else value.tolist()


def _slice(node: NodeProto, read: Sequence[Any]) -> Tensor:
    data, starts, ends = read[0], _numbers(read[1]), _numbers(read[2])
    axes = _numbers(read[3]) if len(read) > 3 else list(range(len(starts)))
    steps = _numbers(read[4]) if len(read) > 4 else [1] * len(starts)
    cut = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        cut[axis] = slice(start, end, step)
    return data[tuple(cut)]


def _gather(node: NodeProto, read: Sequence[Any]) -> Tensor:
    axis, (data, index) = attributes(node).get("axis", 0), read
    chosen = data.index_select(axis, index.reshape(-1).remainder(data.shape[axis]))
    return chosen.reshape((*data.shape[:axis], *index.shape, *data.shape[axis + 1 :]))


def _reshape(node: NodeProto, read: Sequence[Any]) -> Tensor:
    sizes = [read[0].shape[i] if size == 0 else size for i, size in enumerate(_numbers(read[1]))]
    return read[0].reshape(tuple(sizes))


def _flatten(node: NodeProto, read: Sequence[Any]) -> Tensor:
    return read[0].reshape(prod(read[0].shape[: attributes(node).get("axis", 1)]), -1)


def _unsqueeze(node: NodeProto, read: Sequence[Any]) -> Tensor:
    value = read[0]
    for axis in sorted(_numbers(read[1])):
        value = value.unsqueeze(axis)
    return value


def _resize(node: NodeProto, read: Sequence[Any]) -> Tensor:
    settings, mode = attributes(node), {b"nearest": "nearest", b"linear": "bilinear"}
    if len(read) > 3 and read[3] is not None:
        return functional.interpolate(read[0], size=_numbers(read[3])[2:], mode=mode[settings["mode"]])
    return functional.interpolate(read[0], scale_factor=read[2].tolist()[2:], mode=mode[settings["mode"]])


def _grid_sample(node: NodeProto, read: Sequence[Any]) -> Tensor:
    settings = attributes(node)
    mode, padding = settings.get("mode", b"bilinear").decode(), settings.get("padding_mode", b"zeros").decode()
    aligned = bool(settings.get("align_corners", 0))
    return functional.grid_sample(
        read[0], read[1], mode={"linear": "bilinear"}.get(mode, mode), padding_mode=padding, align_corners=aligned
    )


def _clip(node: NodeProto, read: Sequence[Any]) -> Tensor:
    bounds = [*read[1:], None, None]
    return torch.clamp(read[0], bounds[0], bounds[1])


def _reduced(function: Callable) -> Callable:
    def over_axes(node: NodeProto, read: Sequence[Any]) -> Tensor:
        settings = attributes(node)
        axes = _numbers(read[1]) if len(read) > 1 else list(settings["axes"])
        return function(read[0], dim=axes, keepdim=bool(settings.get("keepdims", 1)))

    return over_axes


def _softmax(node: NodeProto, read: Sequence[Any]) -> Tensor:
    return torch.softmax(read[0], dim=attributes(node).get("axis", -1))


def _max_pool(node: NodeProto, read: Sequence[Any]) -> Tensor:
    settings = attributes(node)
    value, pads = _padded(read[0], settings.get("pads", NO_PADS), -torch.inf)
    stride, dilation = settings.get("strides", (1, 1)), settings.get("dilations", (1, 1))
    whole = bool(settings.get("ceil_mode", 0))
    return functional.max_pool2d(value, settings["kernel_shape"], stride, pads, dilation, ceil_mode=whole)


def _average_pool(node: NodeProto, read: Sequence[Any]) -> Tensor:
    settings = attributes(node)
    counted = bool(settings.get("count_include_pad", 0))
    pads = settings.get("pads", [0, 0])[:2]
    return functional.avg_pool2d(
        read[0], settings["kernel_shape"], settings["strides"], pads, count_include_pad=counted
    )


def _layer_norm(node: NodeProto, read: Sequence[Any]) -> Tensor:
    settings = attributes(node)
    sizes = read[0].shape[settings.get("axis", -1) :]
    return functional.layer_norm(read[0], sizes, *read[1:], eps=settings.get("epsilon", 1e-5))


def _gemm(node: NodeProto, read: Sequence[Any]) -> Tensor:
    settings = attributes(node)
    left, right = (
        value.T if settings.get(name, 0) else value for value, name in zip(read, ("transA", "transB"), strict=False)
    )
    product = settings.get("alpha", 1.0) * (left @ right)
    return product + settings.get("beta", 1.0) * read[2] if len(read) > 2 else product


def _split(node: NodeProto, read: Sequence[Any]) -> tuple[Tensor, ...]:
    return torch.split(read[0], _numbers(read[1]), dim=attributes(node).get("axis", 0))


def _constant_of_shape(node: NodeProto, read: Sequence[Any]) -> Tensor:
    from onnx import numpy_helper

    value = numpy_helper.to_array(attributes(node)["value"])
    return torch.from_numpy(np.full(_numbers(read[0]), value[0]))


OPERATORS: dict[str, Callable[[NodeProto, Sequence[Any]], Any]] = {
    "Abs": lambda _, read: read[0].abs(),
    "Add": lambda _, read: read[0] + read[1],
    "And": lambda _, read: read[0] & read[1],
    "AveragePool": _average_pool,
    "BatchNormalization": lambda node, read: functional.batch_norm(
        read[0], read[3], read[4], read[1], read[2], eps=attributes(node).get("epsilon", 1e-5)
    ),
    "Cast": lambda node, read: read[0].to(TYPES[attributes(node)["to"]]),
    "Clip": _clip,
    "Concat": lambda node, read: torch.cat(list(read), dim=attributes(node)["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "ConvTranspose": _convolve_transposed,
    "Div": lambda _, read: (
        read[0] / read[1] if read[0].is_floating_point() else torch.div(read[0], read[1], rounding_mode="trunc")
    ),
    "Equal": lambda _, read: read[0] == read[1],
    "Erf": lambda _, read: torch.erf(read[0]),
    "Exp": lambda _, read: read[0].exp(),
    "Expand": lambda _, read: read[0] * torch.ones(_numbers(read[1]), dtype=read[0].dtype),
    "Flatten": _flatten,
    "Floor": lambda _, read: read[0].floor(),
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda _, read: read[0].mean(dim=(2, 3), keepdim=True),
    "Greater": lambda _, read: read[0] > read[1],
    "GridSample": _grid_sample,
    "Identity": lambda _, read: read[0],
    "LayerNormalization": _layer_norm,
    "Less": lambda _, read: read[0] < read[1],
    "Log": lambda _, read: read[0].log(),
    "MatMul": lambda _, read: read[0] @ read[1],
    "Max": lambda _, read: reduce(torch.maximum, read),
    "MaxPool": _max_pool,
    "Min": lambda _, read: reduce(torch.minimum, read),
    "Mul": lambda _, read: read[0] * read[1],
    "Neg": lambda _, read: -read[0],
    "Pow": lambda _, read: read[0] ** read[1],
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": lambda _, read: torch.relu(read[0]),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda _, read: torch.tensor(read[0].shape),
    "Sigmoid": lambda _, read: torch.sigmoid(read[0]),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": lambda _, read: read[0].sqrt(),
    "Squeeze": lambda _, read: read[0].squeeze(_numbers(read[1])) if len(read) > 1 else read[0].squeeze(),
    "Sub": lambda _, read: read[0] - read[1],
    "Tanh": lambda _, read: read[0].tanh(),
    "Tile": lambda _, read: read[0].repeat(_numbers(read[1])),
    "Transpose": lambda node, read: read[0].permute(attributes(node)["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda _, read: torch.where(read[0], read[1], read[2]),
}
