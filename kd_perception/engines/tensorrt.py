"""TensorRT: the engine on NVIDIA GPUs (TensorRT 10.x and 11.x), from Jetson modules to workstations.

Buffers are bound once, inputs and outputs pass through pinned memory, one stream orders everything, and what a frame
computes is recorded once as a CUDA graph. The temporal memory stays on the device: it comes back as a handle, and is
copied there, because a graph computes on the addresses it was recorded with.
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from kd_perception.engines.build_cache import default_folder
from kd_perception.engines.cuda import Cuda, DeviceMemory, MemoryPool, RecordedWork
from kd_perception.engines.protocol import EngineOptions, ModelFile, Tensor, check_inputs
from kd_perception.engines.rig_sizes import Profile, input_shapes, rig_profile
from kd_perception.engines.tensorrt_build import (
    BuiltPlan,
    PlanRequest,
    built_plan,
    kept_plan,
    logger,
)
from kd_perception.errors import EngineError, InputError
from kd_perception.student.spec import MEMORY_OUTPUT

OLDEST_MAJOR = 10


class GpuTensor:
    """A tensor in the memory of the engine's GPU, which it holds as long as it lives."""

    def __init__(self, cuda: Cuda, pool: MemoryPool, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._cuda = cuda
        self.shape, self.dtype = shape, dtype
        self.memory = pool.lend(self)

    def numpy(self) -> np.ndarray:
        """A copy on the host; raises EngineError if the GPU no longer responds."""
        result = np.empty(self.shape, self.dtype)
        self._cuda.make_current()
        self._cuda.download(result, self.memory)
        self._cuda.synchronize()
        return result


@dataclass
class _Buffer:
    """A tensor's pinned array and device memory; `constant`: the read-only array that was uploaded last, if it was."""

    host: np.ndarray
    device: DeviceMemory
    constant: np.ndarray | None = None


@dataclass(frozen=True)
class _Memory:
    """The temporal memory's sizes, where the network leaves it, and where what is kept of it lives."""

    shape: tuple[int, ...]
    dtype: np.dtype
    device: DeviceMemory
    pool: MemoryPool


class TensorRtEngine:
    """A model as a TensorRT engine at the precision its file states; a camera axis is fixed to the rig's count."""

    name = "tensorrt"

    def __init__(self, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """Take the plan from the cache or build it, and bind its buffers.

        Raises EngineError without TensorRT or a GPU, or if TensorRT refuses the file.
        """
        trt = import_tensorrt()
        self._cuda = open_cuda(trt)
        try:
            self._open(trt, model, cameras, options)
        except (RuntimeError, TypeError) as error:  # what the bindings raise where TensorRT gives no object
            raise EngineError(
                f"TensorRT {trt.__version__} does not work here ({error}); use engine openvino"
            ) from error

    def _open(self, trt: ModuleType, model: ModelFile, cameras: int, options: EngineOptions) -> None:
        """Everything that needs TensorRT."""
        self._trt = trt
        self._log = logger(trt)
        profile = rig_profile(model.spec, cameras)
        folder = options.cache_folder or default_folder()
        request = PlanRequest(trt, self._cuda.gpu, model, profile, folder, options.report)
        self._runtime = trt.Runtime(self._log)
        plan = self._load(request)
        self.not_kept = plan.not_kept
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"TensorRT cannot run {model.path} on {self._cuda.gpu.name}: {self._complaint()}")
        self._inputs: dict[str, _Buffer] = {}
        self._outputs: dict[str, _Buffer] = {}
        self._memory: _Memory | None = None
        self._fix_sizes(input_shapes(model.spec, cameras), profile)
        self._bind()
        self._shapes = {name: buffer.host.shape for name, buffer in self._inputs.items()}
        self._recorded = self._record(options.report)

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Named inputs -> named outputs, overwritten by the next call; the temporal memory as a GpuTensor of its own.

        Raises InputError for inputs that the file does not take, EngineError if TensorRT or the GPU fails.
        """
        self._cuda.make_current()
        for name, value in check_inputs(self.name, self._shapes, inputs).items():
            self._enter(name, value)
        if self._recorded is not None:
            self._recorded.launch()
        else:
            self._execute()
        results: dict[str, Tensor] = {}
        if self._memory is not None:
            kept = GpuTensor(self._cuda, self._memory.pool, self._memory.shape, self._memory.dtype)
            self._cuda.copy(kept.memory, self._memory.device)
            results[MEMORY_OUTPUT] = kept
        for name, buffer in self._outputs.items():
            self._cuda.download(buffer.host, buffer.device)
            results[name] = buffer.host
        self._cuda.synchronize()
        return results

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._cuda.stream):
            raise EngineError(f"TensorRT did not run: {self._complaint()}")

    def _record(self, report: Callable[[str], None]) -> RecordedWork | None:
        """Run once on zeros, which prepares everything, then record the same as a CUDA graph; None if that is refused,
        as for a network that decides on the host."""
        for buffer in self._inputs.values():
            self._cuda.upload(buffer.device, buffer.host)
        self._execute()
        self._cuda.synchronize()
        try:
            return self._cuda.recorded(self._execute)
        except EngineError as error:
            report(f"the TensorRT engine runs without a CUDA graph ({error})")
            return None

    def _load(self, request: PlanRequest) -> BuiltPlan:
        """The plan, kept or built, after the runtime took it; a kept one that it refuses is built again."""
        plan = kept_plan(request)
        if plan is not None:
            self._engine = self._runtime.deserialize_cuda_engine(plan.data)
            if self._engine is not None:
                return plan
            request.report(f"TensorRT refuses the kept engine ({self._complaint()}); it is built again")
        plan = built_plan(request)
        self._engine = self._runtime.deserialize_cuda_engine(plan.data)
        if self._engine is None:
            raise EngineError(f"TensorRT cannot load its engine of {request.model.path}: {self._complaint()}")
        return plan

    def _fix_sizes(self, rig: Mapping[str, tuple[int, ...]], profile: Profile) -> None:
        """Give every input of open size that of this rig."""
        for name in self._names(self._trt.TensorIOMode.INPUT):
            shape = tuple(self._engine.get_tensor_shape(name))
            if min(shape, default=0) < 0 and not self._context.set_input_shape(name, rig[name]):
                raise EngineError(
                    f"TensorRT refuses {rig[name]} for input '{name}' of an engine{profile.rigs}: {self._complaint()}"
                )
        unknown = self._context.infer_shapes()
        if unknown:
            raise EngineError(f"TensorRT does not know the sizes of {', '.join(unknown)}; export the file again")

    def _names(self, mode: object) -> list[str]:
        """The tensors that are inputs, or those that are outputs."""
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        return [name for name in names if self._engine.get_tensor_mode(name) == mode]

    def _bind(self) -> None:
        """Give every tensor its memory, for good."""
        inputs = self._names(self._trt.TensorIOMode.INPUT)
        for name in (*inputs, *self._names(self._trt.TensorIOMode.OUTPUT)):
            shape = tuple(self._context.get_tensor_shape(name))
            dtype = np.dtype(self._trt.nptype(self._engine.get_tensor_dtype(name)))
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            device = self._cuda.device_memory(size)
            if name == MEMORY_OUTPUT:
                self._memory = _Memory(shape, dtype, device, MemoryPool(self._cuda, size))
            else:
                buffer = _Buffer(self._cuda.pinned_array(shape, dtype), device)
                (self._inputs if name in inputs else self._outputs)[name] = buffer
            if not self._context.set_tensor_address(name, device.address):
                raise EngineError(f"TensorRT refuses the memory of '{name}': {self._complaint()}")

    def _enter(self, name: str, value: Tensor) -> None:
        """Have one input on the device when the stream gets there."""
        buffer = self._inputs[name]
        if value.dtype != buffer.host.dtype:
            raise InputError(
                f"engine {self.name}: input '{name}' is {value.dtype} but the student file wants {buffer.host.dtype}; "
                "convert it"
            )
        if isinstance(value, GpuTensor):
            self._cuda.copy(buffer.device, value.memory)
            buffer.constant = None
            return
        if not isinstance(value, np.ndarray):
            raise InputError(f"engine {self.name}: input '{name}' is held by another engine; pass its numpy()")
        if buffer.constant is not None and value is buffer.constant:
            return
        np.copyto(buffer.host, value)
        self._cuda.upload(buffer.device, buffer.host)
        buffer.constant = None if value.flags.writeable else value

    def _complaint(self) -> str:
        """TensorRT's last error, in one line."""
        return " ".join(self._log.complaints[-1].split()) if self._log.complaints else "no reason given"


def import_tensorrt() -> ModuleType:
    """TensorRT's Python bindings; raises EngineError if they are not installed or too old."""
    try:
        trt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:  # OSError: bindings without their libraries
        raise EngineError(
            f"TensorRT is not installed ({error}); install TensorRT 10 or 11 (JetPack brings it) or use engine openvino"
        ) from error
    if int(trt.__version__.split(".")[0]) < OLDEST_MAJOR:
        raise EngineError(f"TensorRT {trt.__version__} is too old; install 10 or 11, or use engine openvino")
    return trt


def open_cuda(trt: ModuleType) -> Cuda:
    """The GPU, its context current in this thread; raises EngineError where TensorRT is of no use without one."""
    try:
        return Cuda()
    except EngineError as error:
        raise EngineError(
            f"TensorRT {trt.__version__} is installed but no GPU can be used ({error}); check nvidia-smi, "
            "or use engine openvino"
        ) from error
