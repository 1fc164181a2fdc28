"""OpenVINO: the default engine on CPUs (x86 and Arm)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import openvino

from kd_perception.engines.protocol import EngineOptions, ModelFile, check_inputs, for_rig, read_unchanged
from kd_perception.errors import EngineError
from kd_perception.student.spec import CAMERA_INPUTS

THREADS = "INFERENCE_NUM_THREADS"
# Without the precision hint OpenVINO picks bfloat16 where the CPU has it. Its threads wait for each other at the end of
# every operator: one that is bound to a core which another process uses would hold up all, so none is bound.
SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}


@cache
def shared_core() -> openvino.Core:
    """The process's one core, never freed: the CPU plugin gives the thread that loads it an alternate signal stack, and
    frees it from whichever thread drops the last reference. Ctrl-C would then be delivered on unmapped memory."""
    return openvino.Core()


@dataclass(frozen=True)
class CompiledFile:
    """A file as it was compiled; inputs: sizes by name, None for what depends on the rig; outputs: names."""

    model: openvino.CompiledModel
    inputs: dict[str, tuple[int | None, ...]]
    outputs: tuple[str, ...]


def compile_for(
    model: ModelFile, cameras: int, settings: Mapping[str, str | int | bool] = MappingProxyType({})
) -> CompiledFile:
    """A file compiled for the CPU and a rig of so many cameras, at the precision that the file states.

    settings: of OpenVINO, on top of this project's. Raises EngineError if OpenVINO refuses the file.
    """
    read_unchanged(model)
    try:
        core = shared_core()
        graph = core.read_model(model.path)  # from bytes it would name constant outputs otherwise
        shapes = {port.any_name: port.partial_shape for port in graph.inputs}
        for name in shapes.keys() & CAMERA_INPUTS:
            shapes[name][0] = cameras
        graph.reshape(shapes)
        compiled = core.compile_model(graph, "CPU", {**SETTINGS, **settings})
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise EngineError(
            f"OpenVINO refuses {model.path}{for_rig(cameras)} ({reason}); export it again or use engine onnxruntime"
        ) from error
    inputs = {
        name: tuple(None if size.is_dynamic else size.get_length() for size in shape) for name, shape in shapes.items()
    }
    return CompiledFile(compiled, inputs, tuple(port.any_name for port in graph.outputs))  # a compiled port has several


class OpenVinoEngine:
    """A model compiled for the CPU at the precision its file states; a camera axis is fixed to the rig's count."""

    name = "openvino"
    not_kept = ""
    settings: ClassVar[Mapping[str, str]] = {}  # of OpenVINO, on top of this project's

    def __init__(self, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """Read, reshape and compile. Raises EngineError if OpenVINO refuses the file."""
        threads = {THREADS: options.threads} if options.threads else {}
        compiled = compile_for(model, cameras, {**self.settings, **threads})
        self._shapes, self._outputs = compiled.inputs, compiled.outputs
        self._request = compiled.model.create_infer_request()
        self._constants: dict[str, np.ndarray] = {}  # read-only inputs that the request holds a copy of

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs -> named outputs, without copies: the outputs are overwritten by the next call."""
        used = check_inputs(self.name, self._shapes, inputs)
        changing = {name: value for name, value in used.items() if not self._is_kept(name, value)}
        results = self._request.infer(changing, share_inputs=True, share_outputs=True)
        return {name: results[name] for name in self._outputs}

    def _is_kept(self, name: str, value: np.ndarray) -> bool:
        """Whether the request has this input already: OpenVINO would copy read-only arrays, tables, in every frame."""
        if value.flags.writeable:
            self._constants.pop(name, None)
            return False
        if self._constants.get(name) is not value:
            self._request.set_tensor(name, openvino.Tensor(value.copy()))
            self._constants[name] = value
        return True
