"""ONNX Runtime on the CPU: the fallback where OpenVINO is not installed, and a second opinion on every file."""

from collections.abc import Mapping

import numpy as np
import onnxruntime

from kd_perception.engines.protocol import EngineOptions, ModelFile, check_inputs, for_rig, read_unchanged
from kd_perception.errors import EngineError
from kd_perception.student.spec import CAMERA_AXIS

ERRORS_ONLY = 3  # ONNX Runtime's log severity
CPU_PROVIDER = "CPUExecutionProvider"


def session_settings(axes: Mapping[str, int], threads: int) -> onnxruntime.SessionOptions:
    """How a file is opened here: with sizes of open dimensions, and so many threads (0: the library chooses)."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = ERRORS_ONLY
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    for axis, size in axes.items():
        settings.add_free_dimension_override_by_name(axis, size)
    return settings


class OnnxRuntimeEngine:
    """A model in an ONNX Runtime session, its camera axis, if it has one, fixed to the rig's count."""

    name = "onnxruntime"
    not_kept = ""

    def __init__(self, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """Open a session. Raises EngineError if ONNX Runtime refuses the file."""
        data = read_unchanged(model)
        settings = session_settings(self.fixed_axes(model, cameras), options.threads)
        try:
            self._session = self.session(data, settings, options)
        except EngineError:
            raise
        except Exception as error:  # the binding raises a dozen types that share only Exception
            reason = str(error).strip().splitlines()[0]
            raise EngineError(
                f"ONNX Runtime refuses {model.path}{for_rig(cameras)} ({reason}); export it again or use engine "
                "openvino"
            ) from error
        self._shapes = {
            port.name: tuple(size if isinstance(size, int) else None for size in port.shape)
            for port in self._session.get_inputs()
        }
        self._outputs = [port.name for port in self._session.get_outputs()]

    def fixed_axes(self, model: ModelFile, cameras: int) -> dict[str, int]:
        """Sizes of open dimensions, by name."""
        return {CAMERA_AXIS: cameras}

    def session(
        self,
        data: bytes,
        settings: onnxruntime.SessionOptions,
        options: EngineOptions,
    ) -> onnxruntime.InferenceSession:
        """The session; raises whatever ONNX Runtime raises, or EngineError with a sentence of its own."""
        return onnxruntime.InferenceSession(data, settings, providers=[CPU_PROVIDER])

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Named inputs -> named outputs (fresh arrays)."""
        used = check_inputs(self.name, self._shapes, inputs)
        return dict(zip(self._outputs, self._session.run(self._outputs, used), strict=True))
