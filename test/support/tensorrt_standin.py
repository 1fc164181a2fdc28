"""A stand-in for the `tensorrt` module: its classes and calls as this project uses them, computed by ONNX Runtime.

It runs the whole engine where no GPU is: a "plan" is the ONNX file, an execution reads and writes the bound addresses,
which are host memory (host_cuda.c). What TensorRT would refuse or leave undefined raises: unbound tensors, unset sizes.
Calls are recorded with the names of the bindings' parameters, so that a test can hold them against real bindings.
It proves how the engine is driven, not what TensorRT computes.
Executed afresh for every test: its globals are its state.
"""

import ctypes
import inspect
import os
from collections.abc import Callable
from enum import IntEnum
from functools import wraps
from typing import Any

import numpy as np
import onnx
import onnxruntime

__version__ = "10.3.0"

calls: set[tuple[str, str, tuple[str, ...]]] = set()  # class, method, names of the arguments given
properties: set[tuple[str, str]] = set()  # class, property
builds = executions = 0
refused_plans = 0  # how many plans the runtime shall refuse from now on
failing = False  # executions fail
FAILURE = os.environ.get("TENSORRT_STANDIN_FAILURE", "")  # a file: as long as it exists, executions fail
timings_given: list[bytes] = []  # what every build began with

PLAN = b"plan of the stand-in "
TYPES = {"tensor(float)": (0, np.float32), "tensor(int32)": (3, np.int32), "tensor(uint8)": (5, np.uint8)}


def nptype(kind: int) -> type:
    return dict(TYPES.values())[int(kind)]


class TensorIOMode(IntEnum):
    NONE, INPUT, OUTPUT = 0, 1, 2


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    TF32 = 7


def recorded(method: Callable) -> Callable:
    """Note the class, the method and its arguments; `method`'s parameters are named as in the bindings."""
    signature = inspect.signature(method)

    @wraps(method)
    def call(self: Any, *arguments: Any) -> Any:
        given = list(signature.bind(self, *arguments).arguments)[1:]
        variable = [name for name in given if signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL]
        assert not variable
        calls.add((type(self).__name__, method.__name__, tuple(given)))
        return method(self, *arguments)

    return call


class recorded_property(property):  # noqa: N801 (used as `property` is)
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        properties.add((owner.__name__, self.fget.__name__))
        return super().__get__(instance, owner)

    def __set__(self, instance: Any, value: Any) -> None:
        properties.add((type(instance).__name__, self.fget.__name__))
        super().__set__(instance, value)


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class IProgressMonitor:
    pass


class IHostMemory(bytes):
    pass


class ITensor:
    def __init__(self, value: onnx.ValueInfoProto) -> None:
        self._name = value.name
        sizes = value.type.tensor_type.shape.dim
        self._shape = [size.dim_value if size.HasField("dim_value") else -1 for size in sizes]

    @recorded_property
    def name(self) -> str:
        return self._name

    @recorded_property
    def shape(self) -> list[int]:
        return self._shape


class INetworkDefinition:
    model: onnx.ModelProto | None = None

    @recorded_property
    def num_inputs(self) -> int:
        return len(self.model.graph.input)

    @recorded
    def get_input(self, index: int) -> ITensor:
        return ITensor(self.model.graph.input[index])


class ParserError:
    @recorded
    def desc(self) -> str:
        return "no ONNX file"


class OnnxParser:
    @recorded
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._logger, self._failed = network, logger, 0

    @recorded
    def parse(self, model: bytes) -> bool:
        try:
            self._network.model = onnx.load_model_from_string(model)
        except Exception:  # protobuf raises its own types
            self._logger.log(ILogger.Severity.ERROR, "ModelImporter: failed to parse")
            self._failed = 1
        return not self._failed

    @recorded_property
    def num_errors(self) -> int:
        return self._failed

    @recorded
    def get_error(self, index: int) -> ParserError:
        return ParserError()


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    @recorded
    def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:  # noqa: A002 (the bindings' names)
        assert min == opt == max and all(size > 0 for size in min)
        self.shapes[input] = min


class ITimingCache:
    def __init__(self, timings: bytes) -> None:
        self.timings = timings

    @recorded
    def serialize(self) -> IHostMemory:
        return IHostMemory(self.timings)


class IBuilderConfig:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}  # on by default
        self.profiles: list[IOptimizationProfile] = []
        self.timing_cache: ITimingCache | None = None
        self.monitor: IProgressMonitor | None = None

    @recorded
    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    @recorded
    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    @recorded
    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    @recorded
    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.timings not in (b"", b"timings") and not ignore_mismatch:
            return False
        self.timing_cache = cache
        return True

    @recorded
    def get_timing_cache(self) -> ITimingCache | None:
        return self.timing_cache

    @recorded_property
    def progress_monitor(self) -> IProgressMonitor | None:
        return self.monitor

    @progress_monitor.setter
    def progress_monitor(self, monitor: IProgressMonitor) -> None:
        self.monitor = monitor


class Builder:
    @recorded
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    @recorded
    def create_network(self, flags: int) -> INetworkDefinition:
        assert flags == (2 if __version__.startswith("10.") else 0), "10.x must be told to be strongly typed"
        return INetworkDefinition()

    @recorded
    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    @recorded
    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    @recorded
    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        global builds
        builds += 1
        timings_given.append(config.timing_cache.timings)
        assert BuilderFlag.TF32 not in config.flags
        dynamic = {value.name for value in network.model.graph.input if -1 in ITensor(value)._shape}
        assert dynamic == set(config.profiles[0].shapes), "every input of open size needs its profile"
        config.monitor.phase_start("Timing", None, 2)
        for step in range(2):
            if not config.monitor.step_complete("Timing", step):
                return None
        config.monitor.phase_finish("Timing")
        config.timing_cache.timings = b"timings"
        return IHostMemory(PLAN + network.model.SerializeToString())


class Runtime:
    @recorded
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    @recorded
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "ICudaEngine | None":
        global refused_plans
        if refused_plans or not serialized_engine.startswith(PLAN):
            refused_plans = max(0, refused_plans - 1)
            self._logger.log(ILogger.Severity.ERROR, "Serialization assertion failed:\nversions differ")
            return None
        return ICudaEngine(serialized_engine[len(PLAN) :], self._logger)


class ICudaEngine:
    def __init__(self, model: bytes, logger: ILogger) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.logger = logger
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.ports = {port.name: port for port in (*inputs, *outputs)}
        self.inputs = [port.name for port in inputs]

    def sizes(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self.ports[name].shape)

    @recorded_property
    def num_io_tensors(self) -> int:
        return len(self.ports)

    @recorded
    def get_tensor_name(self, index: int) -> str:
        return list(self.ports)[index]

    @recorded
    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    @recorded
    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.sizes(name)

    @recorded
    def get_tensor_dtype(self, name: str) -> int:
        return TYPES[self.ports[name].type][0]

    @recorded
    def create_execution_context(self) -> "IExecutionContext":
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shapes = {name: engine.sizes(name) for name in engine.ports}
        self._addresses: dict[str, int] = {}

    @recorded
    def set_input_shape(self, name: str, shape: tuple) -> bool:
        fixed = self._engine.sizes(name)
        if len(shape) != len(fixed) or any(size not in (-1, new) for size, new in zip(fixed, shape, strict=True)):
            return False
        self._shapes[name] = tuple(shape)
        return True

    @recorded
    def infer_shapes(self) -> list[str]:
        return [name for name, shape in self._shapes.items() if -1 in shape]

    @recorded
    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self._shapes[name]

    @recorded
    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert type(memory) is int and memory
        self._addresses[name] = memory
        return name in self._shapes

    @recorded
    def execute_async_v3(self, stream_handle: int) -> bool:
        global executions
        executions += 1
        assert type(stream_handle) is int and stream_handle, "the default stream would stop everything else"
        assert self._addresses.keys() == self._shapes.keys(), "a tensor has no memory"
        if failing or (FAILURE and os.path.exists(FAILURE)):
            self._engine.logger.log(ILogger.Severity.ERROR, "Cuda failure: 719")
            return False
        inputs = {name: self._array(name).copy() for name in self._engine.inputs}
        names = [name for name in self._shapes if name not in inputs]
        for name, value in zip(names, self._engine.session.run(names, inputs), strict=True):
            self._array(name)[...] = value
        return True

    def _array(self, name: str) -> np.ndarray:
        dtype = np.dtype(TYPES[self._engine.ports[name].type][1])
        size = int(np.prod(self._shapes[name])) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(self._addresses[name])
        return np.frombuffer(memory, dtype).reshape(self._shapes[name])
