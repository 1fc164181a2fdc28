"""OpenVINO: the default engine on CPUs (x86 and Arm)."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import openvino

from kd_perception.engines.protocol import EngineOptions, ModelFile, check_inputs, for_rig, read_unchanged
from kd_perception.errors import EngineError
from kd_perception.student.spec import CAMERA_INPUTS


@cache
def _core() -> openvino.Core:
    """The process's one core, never freed: the CPU plugin gives the thread that loads it an alternate signal stack, and
    frees it from whichever thread drops the last reference. Ctrl-C would then be delivered on unmapped memory."""
    return openvino.Core()


class OpenVinoEngine:
    """A model compiled for the CPU at the precision its file states; a camera axis is fixed to the rig's count."""

    name = "openvino"
    not_kept = ""

    def __init__(self, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """Read, reshape and compile. Raises EngineError if OpenVINO refuses the file."""
        # Without the precision hint OpenVINO picks bfloat16 where the CPU has it.
        settings: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if options.threads:
            settings["INFERENCE_NUM_THREADS"] = options.threads
        read_unchanged(model)
        try:
            core = _core()
            graph = core.read_model(model.path)  # from bytes it would name constant outputs otherwise
            shapes = {port.any_name: port.partial_shape for port in graph.inputs}
            for name in shapes.keys() & CAMERA_INPUTS:
                shapes[name][0] = cameras
            graph.reshape(shapes)
            self._compiled = core.compile_model(graph, "CPU", settings)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise EngineError(
                f"OpenVINO refuses {model.path}{for_rig(cameras)} ({reason}); export it again or use engine onnxruntime"
            ) from error
        self._shapes = {
            name: tuple(None if size.is_dynamic else size.get_length() for size in shape)
            for name, shape in shapes.items()
        }
        self._outputs = [port.any_name for port in graph.outputs]  # a compiled port may carry several names
        self._request = self._compiled.create_infer_request()

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs -> named outputs, without copies: the outputs are overwritten by the next call."""
        used = check_inputs(self.name, self._shapes, inputs)
        results = self._request.infer(used, share_inputs=True, share_outputs=True)
        return {name: results[name] for name in self._outputs}
