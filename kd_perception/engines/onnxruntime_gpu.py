"""ONNX Runtime on NVIDIA GPUs, from wheels alone: by TensorRT-RTX's plugin (RTX cards), and by CUDA.

Both take arrays on the host and give arrays on the host. The precision is the file's.
- TensorRT-RTX is a plugin that plain onnxruntime loads, of the wheel onnxruntime-ep-nv-tensorrt-rtx-cu13. Its options:
  tensorrt_rtx_provider_options.h in that wheel.
- CUDA is part of the wheel onnxruntime-gpu, which takes the place of onnxruntime. Its options:
  https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html
"""

import io
from abc import ABC, abstractmethod
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import onnxruntime

from kd_perception.engines.build_cache import default_folder
from kd_perception.engines.cuda import Cuda
from kd_perception.engines.onnxruntime import CPU_PROVIDER, OnnxRuntimeEngine
from kd_perception.engines.protocol import EngineOptions, ModelFile
from kd_perception.engines.rig_sizes import input_shapes
from kd_perception.errors import EngineError, EngineNotInstalledError
from kd_perception.student.spec import CAMERA_AXIS, table_axis

RTX_PLUGIN = "onnxruntime_ep_nv_tensorrt_rtx"
RTX_WHEEL = "onnxruntime-ep-nv-tensorrt-rtx-cu13"
RTX_CACHE_OPTION = "nv_runtime_cache_path"  # a folder for what was compiled for this GPU
CUDA_PROVIDER = "CUDAExecutionProvider"
CUDA_OPTIONS = {"use_tf32": "0"}  # an FP32 file gives FP32 results
WITH_ASSIGNMENT = "session.record_ep_graph_assignment_info"


class _GpuEngine(OnnxRuntimeEngine, ABC):
    """What both providers share: every size is fixed, and what stays on the CPU is reported."""

    def fixed_axes(self, model: ModelFile, cameras: int) -> dict[str, int]:
        """Also those of the view tables, so that nothing has to be compiled for sizes that never come."""
        shapes = input_shapes(model.spec, cameras)
        return {CAMERA_AXIS: cameras} | {table_axis(name): shape[0] for name, shape in shapes.items()}

    def session(
        self, data: bytes, settings: onnxruntime.SessionOptions, options: EngineOptions
    ) -> onnxruntime.InferenceSession:
        """As the provider opens it; `options.report` hears of operators that stay on the CPU."""
        settings.add_session_config_entry(WITH_ASSIGNMENT, "1")
        session = self.on_gpu(data, settings, options)
        parts = session.get_provider_graph_assignment_info()
        left = sum(len(part.get_nodes()) for part in parts if part.ep_name == CPU_PROVIDER)
        if left:
            whole = sum(len(part.get_nodes()) for part in parts)
            options.report(f"engine {self.name}: {left} of {whole} operators run on the CPU")
        return session

    @abstractmethod
    def on_gpu(
        self, data: bytes, settings: onnxruntime.SessionOptions, options: EngineOptions
    ) -> onnxruntime.InferenceSession:
        """A session whose first provider is the GPU's; raises EngineError where there is none."""


class TensorRtRtxEngine(_GpuEngine):
    """ONNX Runtime with TensorRT-RTX, which compiles in seconds and keeps what it compiled in the cache folder."""

    name = "onnxruntime-rtx"

    def on_gpu(
        self, data: bytes, settings: onnxruntime.SessionOptions, options: EngineOptions
    ) -> onnxruntime.InferenceSession:
        """A session on the first RTX card; raises EngineError where the plugin, a driver or such a card is missing."""
        if find_spec(RTX_PLUGIN) is None:
            raise EngineNotInstalledError(f"{RTX_WHEEL} is not installed")
        gpu = Cuda().gpu  # first, because the plugin's libraries are large, and need the driver's
        provider = registered_plugin()
        devices = [device for device in onnxruntime.get_ep_devices() if device.ep_name == provider]
        if not devices:
            raise EngineError(
                f"TensorRT-RTX finds no card that it takes ({gpu.name} has compute capability "
                f"{'.'.join(map(str, gpu.capability))}; it takes 8.6, 8.9, and 12.0 and later)"
            )
        folder = (options.cache_folder or default_folder()) / self.name
        settings.add_provider_for_devices(devices[:1], self._kept_in(folder))
        return onnxruntime.InferenceSession(data, settings)

    def _kept_in(self, folder: Path) -> dict[str, str]:
        """The provider's options; without a folder if it cannot be made, which `not_kept` then says."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.not_kept = f"what TensorRT-RTX compiles cannot be kept in {folder} ({error.strerror})"
            return {}
        return {RTX_CACHE_OPTION: str(folder)}


class CudaEngine(_GpuEngine):
    """ONNX Runtime with CUDA and cuDNN: any NVIDIA GPU, nothing to compile."""

    name = "onnxruntime-cuda"

    def on_gpu(
        self,
        data: bytes,
        settings: onnxruntime.SessionOptions,
        options: EngineOptions,
    ) -> onnxruntime.InferenceSession:
        """A session on the first GPU; raises EngineError where ONNX Runtime would run on the CPU instead."""
        if CUDA_PROVIDER not in onnxruntime.get_available_providers():
            raise EngineNotInstalledError("onnxruntime-gpu is not installed")
        gpu = Cuda().gpu
        with redirect_stdout(
            io.StringIO()
        ):  # it prints what it does not find, also where nothing is missing in the end
            onnxruntime.preload_dlls()
        providers = [(CUDA_PROVIDER, CUDA_OPTIONS), CPU_PROVIDER]
        session = onnxruntime.InferenceSession(data, settings, providers=providers)
        if session.get_providers()[0] != CUDA_PROVIDER:
            raise EngineError(
                f"ONNX Runtime {onnxruntime.__version__} cannot use {gpu.name}: CUDA or cuDNN is missing or of another "
                "version; install onnxruntime-gpu[cuda,cudnn] or use engine openvino"
            )
        return session


@cache
def registered_plugin() -> str:
    """TensorRT-RTX's provider, registered once in this process: its name. Raises EngineError if it does not load."""
    try:
        plugin = import_module(RTX_PLUGIN)
        onnxruntime.register_execution_provider_library(plugin.get_ep_name(), plugin.get_library_path())
    except Exception as error:  # an import's, a loader's or the binding's
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"{RTX_WHEEL} does not load ({reason}); install it again or use engine openvino") from error
    return plugin.get_ep_name()
