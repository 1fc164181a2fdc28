"""The precisions of a file, as an engine's builder meets them: FP32, FP16 behind casts, symmetric int8 Q/DQ.

Ranges come from noise, so these files show what engines take and how fast it is, not how accurate.
"""

import logging
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import numpy as np
import onnx


class Precision(StrEnum):
    """What an engine is built in."""

    fp32 = "fp32"
    fp16 = "fp16"
    int8 = "int8"


def with_precision(path: Path, precision: Precision, inputs: Mapping[str, np.ndarray]) -> Path:
    """The file in a precision, written next to it (the file itself in FP32); `inputs`: one frame, for ranges."""
    if precision is Precision.fp32:
        return path
    target = path.with_name(f"{path.stem}_{precision.value}{path.suffix}")
    if precision is Precision.fp16:
        _write_half(path, target)
    else:
        _write_int8(path, target, inputs)
    return target


def _write_half(path: Path, target: Path) -> None:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(str(path)), keep_io_types=True), str(target))


def _write_int8(path: Path, target: Path, inputs: Mapping[str, np.ndarray]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class OneFrame(CalibrationDataReader):
        def __init__(self) -> None:
            self._frames = iter([dict(inputs)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self._frames, None)

    logging.disable(logging.WARNING)  # it advises steps that change nothing here
    try:
        quantize_static(
            str(path), str(target), OneFrame(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            per_channel=True, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
            extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
