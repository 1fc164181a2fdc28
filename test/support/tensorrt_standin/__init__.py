"""A stand-in for the `tensorrt` module: its classes and calls as this project uses them, computed by ONNX Runtime.

It runs the whole engine where no GPU is: a "plan" is the ONNX file, an execution reads and writes the bound addresses,
which are host memory (host_cuda.c). What TensorRT would refuse or leave undefined raises: unbound tensors, unset sizes.
Calls are recorded with the names of the bindings' parameters, so that a test can hold them against real bindings.
It proves how the engine is driven, not what TensorRT computes.
Executed afresh for every test, under the name `tensorrt`: the globals of this file are its state.
"""

import os

__version__ = "10.3.0"

builds = executions = 0
refused_plans = 0  # how many plans the runtime shall refuse from now on
failing = False  # executions fail
FAILURE = os.environ.get("TENSORRT_STANDIN_FAILURE", "")  # a file: as long as it exists, executions fail
driver = "libcuda.so.1"  # the stand-in of the NVIDIA driver, which records graphs
timings_given: list[bytes] = []  # what every build began with

from .building import (  # noqa: E402 - they use the state above
    Builder,
    BuilderFlag,
    ILogger,
    IProgressMonitor,
    NetworkDefinitionCreationFlag,
    OnnxParser,
)
from .recording import calls, properties  # noqa: E402
from .running import Runtime, TensorIOMode, nptype  # noqa: E402

__all__ = [
    "Builder",
    "BuilderFlag",
    "ILogger",
    "IProgressMonitor",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "Runtime",
    "TensorIOMode",
    "calls",
    "nptype",
    "properties",
]
