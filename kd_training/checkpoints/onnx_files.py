"""What exported files of students and teachers share: how a network becomes an ONNX file that every engine reads."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from kd_perception.errors import StudentError

OPSET = 17  # read by TensorRT 10 and 11, OpenVINO and ONNX Runtime
PLAIN_OPERATORS_ONLY = ("ScatterND", "ScatterElements", "NonZero", "Unique")  # what TensorRT refuses
TOLERANCE = 1e-3  # relative to max(1, |reference|)


@dataclass(frozen=True)
class ExampleInputs:
    """Inputs of a file, in the file's order."""

    names: tuple[str, ...]
    arrays: tuple[np.ndarray, ...]

    def tensors(self) -> tuple[torch.Tensor, ...]:
        """The same as torch tensors."""
        return tuple(torch.from_numpy(array) for array in self.arrays)

    @property
    def by_name(self) -> dict[str, np.ndarray]:
        """The same by name, as engines take them."""
        return dict(zip(self.names, self.arrays, strict=True))


def write_graph(
    network: nn.Module,
    example: ExampleInputs,
    outputs: Sequence[str],
    target: Path,
    *,
    dynamic: Mapping[str, Mapping[int, str]],
) -> None:
    """Trace a network with its example; `dynamic`: names of sizes that stay open, by input and axis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the tracing exporter writes the plainest graph of the two
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # sizes that steer the network are fixed in a file
        torch.onnx.export(
            network, example.tensors(), str(target), input_names=list(example.names), output_names=list(outputs),
            dynamic_axes=dict(dynamic), opset_version=OPSET, dynamo=False,
        )  # fmt: skip


def add_metadata(path: Path, key: str, metadata: str) -> None:
    """Put a JSON into the file and make sure that it holds plain operators only; raises StudentError if not."""
    model = onnx.load(str(path))
    refused = sorted({node.op_type for node in model.graph.node} & set(PLAIN_OPERATORS_ONLY))
    if refused:
        raise StudentError(f"{path.name}: the exported graph holds {', '.join(refused)}, which TensorRT refuses")
    onnx.helper.set_model_props(model, {key: metadata})
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def check_outputs(
    path: Path, example: ExampleInputs, outputs: Sequence[str], expected: Sequence[torch.Tensor], case: str
) -> None:
    """Raise StudentError, which names the `case`, unless ONNX Runtime gives the outputs that are expected."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(list(outputs), example.by_name)
    for name, left, reference in zip(outputs, got, expected, strict=True):
        right = reference.numpy()
        error = float((np.abs(left - right) / np.maximum(1.0, np.abs(right))).max())
        if not error <= TOLERANCE:
            raise StudentError(
                f"{path.name}: {name} differs from PyTorch by {error:.2g} with {case}; the export is not faithful"
            )
