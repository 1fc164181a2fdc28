"""OpenVINO in bfloat16: a file in FP32 several times faster, where the processor computes with bfloat16 itself."""

from collections.abc import Mapping
from typing import ClassVar

from kd_perception.engines.openvino import OpenVinoEngine, shared_core
from kd_perception.engines.protocol import EngineOptions, ModelFile
from kd_perception.errors import EngineError


class OpenVinoBfloat16Engine(OpenVinoEngine):
    """As OpenVinoEngine, in bfloat16 (8 bits of exponent, 7 of fraction) wherever the file is in floating point.

    Results differ in the third digit. No processor is made to imitate bfloat16, which would be slower than FP32.
    """

    name = "openvino-bf16"
    settings: ClassVar[Mapping[str, str]] = {"INFERENCE_PRECISION_HINT": "bf16"}

    def __init__(self, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """As OpenVinoEngine; raises EngineError, too, if the processor has no bfloat16."""
        if "BF16" not in shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise EngineError("this processor has no bfloat16 (AVX512-BF16, AMX, Arm BF16); use engine openvino")
        super().__init__(model, cameras, options)
