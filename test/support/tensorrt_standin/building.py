"""The stand-in's builder: network, parser, profiles, timing cache; what it builds is the ONNX file itself."""

import json
from enum import IntEnum

import onnx
import tensorrt  # this package, under the name it is played by

from .recording import recorded, recorded_property

PLAN = b"plan of the stand-in "


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    TF32 = 7


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
        self.shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}  # smallest and largest

    @recorded
    def set_shape(self, input: str, min: tuple, opt: tuple, max: tuple) -> None:  # noqa: A002 (the bindings' names)
        assert all(0 < low <= best <= high for low, best, high in zip(min, opt, max, strict=True))
        self.shapes[input] = (min, max)


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
        assert flags == (2 if tensorrt.__version__.startswith("10.") else 0), "10.x needs the flag of strong types"
        return INetworkDefinition()

    @recorded
    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    @recorded
    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    @recorded
    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        tensorrt.builds += 1
        tensorrt.timings_given.append(config.timing_cache.timings)
        assert BuilderFlag.TF32 not in config.flags
        dynamic = {value.name for value in network.model.graph.input if -1 in ITensor(value)._shape}
        assert dynamic == set(config.profiles[0].shapes), "every input of open size needs its profile"
        config.monitor.phase_start("Timing", None, 2)
        for step in range(2):
            if not config.monitor.step_complete("Timing", step):
                return None
        config.monitor.phase_finish("Timing")
        config.timing_cache.timings = b"timings"
        sizes = json.dumps(config.profiles[0].shapes).encode()
        return IHostMemory(PLAN + sizes + b"\n" + network.model.SerializeToString())
