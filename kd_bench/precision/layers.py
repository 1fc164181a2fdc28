"""Which convolutions int8 makes faster, by OpenVINO's own counters: a layer that gains nothing is better left alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from kd_bench.operators import Operator, openvino_operators
from kd_bench.precision.speed import noise_inputs
from kd_perception.student.spec import Student

LEAST_GAIN = 1.02  # of a layer, FP32 over int8


@dataclass(frozen=True)
class TimedLayer:
    """A convolution's least milliseconds in FP32 and in int8."""

    name: str
    fp32: float
    int8: float

    @property
    def gain(self) -> float:
        """How many times as fast it is in int8."""
        return self.fp32 / self.int8


def time_layers(full: Student, rounded: Student, turns: int, threads: int) -> list[TimedLayer]:
    """The convolutions that both files have and `rounded` computes in int8, the least gain first."""
    before, after = (_convolutions(student, turns, threads) for student in (full, rounded))
    rounded_ones = [name for name in before if name in after and after[name].precision == "int8"]
    found = [TimedLayer(name, before[name].ms, after[name].ms) for name in rounded_ones]
    return sorted(found, key=lambda layer: layer.gain)


def _convolutions(student: Student, turns: int, threads: int) -> dict[str, Operator]:
    """Convolution of the file -> the operator that the engine made of it."""
    names = {node.name for node in onnx.load(str(student.path)).graph.node if node.op_type == "Conv"}
    inputs = noise_inputs(student.spec)
    operators = openvino_operators(student, student.spec.trained_cameras, threads, inputs, turns)
    return {name: operator for operator in operators for name in names.intersection(operator.names)}


def sentence(layers: Sequence[TimedLayer]) -> str:
    """How many are faster in int8, and which are not, with what leaves them in FP32."""
    slow = [layer for layer in layers if layer.gain < LEAST_GAIN]
    fast = f"{len(layers) - len(slow)} of {len(layers)} convolutions are at least {LEAST_GAIN} times as fast in int8"
    if not slow:
        return f"{fast}."
    named = ", ".join(f"`{layer.name}` ({layer.fp32:.2f} to {layer.int8:.2f} ms)" for layer in slow)
    return f"{fast}. The others gain nothing, `kd quantise --keep NAME` leaves them in FP32: {named}."
