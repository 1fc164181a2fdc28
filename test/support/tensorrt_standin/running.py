"""The stand-in's runtime: engines and execution contexts, run by ONNX Runtime on the bound addresses."""

import ctypes
import json
import os
from enum import IntEnum

import numpy as np
import onnxruntime
import tensorrt  # this package, under the name it is played by

from .building import PLAN, ILogger
from .recording import recorded, recorded_property

TYPES = {"tensor(float)": (0, np.float32), "tensor(int32)": (3, np.int32), "tensor(uint8)": (5, np.uint8)}


def nptype(kind: int) -> type:
    return dict(TYPES.values())[int(kind)]


class TensorIOMode(IntEnum):
    NONE, INPUT, OUTPUT = 0, 1, 2


class Runtime:
    @recorded
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    @recorded
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "ICudaEngine | None":
        if tensorrt.refused_plans or not serialized_engine.startswith(PLAN):
            tensorrt.refused_plans = max(0, tensorrt.refused_plans - 1)
            self._logger.log(ILogger.Severity.ERROR, "Serialization assertion failed:\nversions differ")
            return None
        sizes, _, model = serialized_engine[len(PLAN) :].partition(b"\n")
        return ICudaEngine(model, json.loads(sizes), self._logger)


class ICudaEngine:
    def __init__(self, model: bytes, profile: dict[str, list[list[int]]], logger: ILogger) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.profile, self.logger = profile, logger
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
        self._recorded: list[object] = []  # what the driver's graphs call, kept alive

    @recorded
    def set_input_shape(self, name: str, shape: tuple) -> bool:
        fixed = self._engine.sizes(name)
        if len(shape) != len(fixed) or any(size not in (-1, new) for size, new in zip(fixed, shape, strict=True)):
            return False
        smallest, largest = self._engine.profile[name]
        if any(not low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)):
            self._engine.logger.log(ILogger.Severity.ERROR, f"{name}: {shape} is outside of the profile")
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
        assert type(stream_handle) is int and stream_handle, "the default stream would stop everything else"
        assert self._addresses.keys() == self._shapes.keys(), "a tensor has no memory"
        addresses = dict(self._addresses)  # a graph computes on those it was recorded with
        driver = ctypes.CDLL(tensorrt.driver)
        recorded_work = ctypes.CFUNCTYPE(None)(lambda: self._compute(addresses) or self._fail(driver))
        if driver.host_takes(recorded_work):
            self._recorded.append(recorded_work)
            return True
        return self._compute(addresses)

    @staticmethod
    def _fail(driver: ctypes.CDLL) -> None:
        ctypes.c_int.in_dll(driver, "host_work_failed").value = 1

    def _compute(self, addresses: dict[str, int]) -> bool:
        tensorrt.executions += 1
        if tensorrt.failing or (tensorrt.FAILURE and os.path.exists(tensorrt.FAILURE)):
            self._engine.logger.log(ILogger.Severity.ERROR, "Cuda failure: 719")
            return False
        arrays = {name: self._array(name, address) for name, address in addresses.items()}
        inputs = {name: arrays[name].copy() for name in self._engine.inputs}
        names = [name for name in self._shapes if name not in inputs]
        for name, value in zip(names, self._engine.session.run(names, inputs), strict=True):
            arrays[name][...] = value
        return True

    def _array(self, name: str, address: int) -> np.ndarray:
        dtype = np.dtype(TYPES[self._engine.ports[name].type][1])
        size = int(np.prod(self._shapes[name])) * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(address)
        return np.frombuffer(memory, dtype).reshape(self._shapes[name])
