"""From a student file to a TensorRT plan: parse, profile, build strongly typed, and keep what took minutes.

Written for TensorRT 10.x and 11.x, whose Python interfaces agree in every call made here. Precision is what the file
states: networks are strongly typed (11.x knows nothing else) and TF32, on by default, is off. The bindings come in as
an argument, so that the same code is checked against TensorRT-RTX, which builds without a GPU.
"""

import json
import platform
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from kd_perception.engines import build_cache
from kd_perception.engines.build_cache import BuildKey, CacheMissError
from kd_perception.engines.cuda import Gpu
from kd_perception.engines.protocol import ModelFile, read_unchanged
from kd_perception.engines.rig_sizes import Profile
from kd_perception.errors import EngineError

RECIPE = 2  # count up when anything below changes what is built
REPORT_EVERY_S = 10.0
KEPT_COMPLAINTS = 5
IGNORE_MISMATCH = False  # timings that another GPU or version of TensorRT took are refused

Bindings = ModuleType  # tensorrt, or another with the same classes


@dataclass(frozen=True)
class BuiltPlan:
    """A serialised engine, whether it was built just now, and why it could not be kept (empty if it was)."""

    data: bytes
    built: bool
    not_kept: str


@dataclass(frozen=True)
class PlanRequest:
    """What to build, where to keep it, and who hears of the progress."""

    trt: Bindings
    gpu: Gpu
    model: ModelFile
    profile: Profile
    folder: Path
    report: Callable[[str], None]

    @property
    def key(self) -> BuildKey:
        """What the plan depends on."""
        return BuildKey(
            kind="plan",
            model=self.model.sha256,
            library=f"{self.trt.__name__}{self.trt.__version__}-{platform.machine()}",
            gpu=self.gpu.name,
            capability=".".join(map(str, self.gpu.capability)),
            multiprocessors=self.gpu.multiprocessors,
            cameras=self.profile.cameras,
            shapes=json.dumps([self.profile.smallest, self.profile.largest], sort_keys=True),
            recipe=RECIPE,
        )

    @property
    def timing_key(self) -> BuildKey:
        """Timings of kernels hold for any model on the same GPU: a retrained student is built faster."""
        return replace(self.key, kind="timing", model="", cameras=0, shapes="")


def kept_plan(request: PlanRequest) -> BuiltPlan | None:
    """The plan that was kept for this request, None if there is no usable one."""
    try:
        data = build_cache.fetch(request.folder, request.key)
    except CacheMissError as miss:
        if str(miss):
            request.report(f"{miss}; it is built again")
        return None
    request.report(f"TensorRT engine taken from {request.folder / request.key.file_name()}")
    return BuiltPlan(data, built=False, not_kept="")


def built_plan(request: PlanRequest) -> BuiltPlan:
    """Build the plan and keep it, whatever is kept already; raises EngineError if TensorRT refuses the file."""
    started_s = time.monotonic()
    request.report(
        f"building {request.model.model_id} with TensorRT {request.trt.__version__}{request.profile.rigs} on "
        f"{request.gpu.name}: takes a minute, on small modules several; kept in {request.folder} for the next start"
    )
    network = ParsedNetwork(request.trt, read_unchanged(request.model), str(request.model.path))
    known = _kept_timings(request.folder, request.timing_key, request.report)
    config = network.config(request.profile, known, request.report)
    data = network.build(config)
    timings = bytes(memoryview(config.get_timing_cache().serialize()))
    try:
        path = build_cache.store(request.folder, request.key, data)
        build_cache.store(request.folder, request.timing_key, timings)
    except OSError as error:
        not_kept = (
            f"the TensorRT engine works but could not be kept in {request.folder} ({error.strerror}), so the next "
            "start builds it again; make room or name another folder for it"
        )
        request.report(not_kept)
        return BuiltPlan(data, built=True, not_kept=not_kept)
    request.report(f"built in {time.monotonic() - started_s:.0f} s and kept as {path}")
    return BuiltPlan(data, built=True, not_kept="")


def _kept_timings(folder: Path, key: BuildKey, report: Callable[[str], None]) -> bytes:
    try:
        return build_cache.fetch(folder, key)
    except CacheMissError as miss:
        if str(miss):
            report(f"{miss}; kernels are timed again")
        return b""


class ParsedNetwork:
    """A student file as TensorRT's network, with the builder it belongs to."""

    def __init__(self, trt: Bindings, model: bytes, name: str) -> None:
        """Parse; raises EngineError with the parser's words if it refuses the file called `name`."""
        self._trt = trt
        self._name = name
        self._log = logger(trt)
        self._log.complaints.clear()
        self.builder = trt.Builder(self._log)
        flags = getattr(trt, "NetworkDefinitionCreationFlag", None)
        # 10.x needs the flag; 11.x is always strongly typed and may drop it one day.
        strongly_typed = 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0
        self.network = self.builder.create_network(strongly_typed)
        self._parser = trt.OnnxParser(self.network, self._log)  # owns the weights until the build is over
        if not self._parser.parse(model):
            raise self._refusal([self._parser.get_error(i).desc() for i in range(self._parser.num_errors)])

    def config(self, sizes: Profile, timings: bytes, report: Callable[[str], None]) -> Any:  # noqa: ANN401 (bindings)
        """A builder configuration: one profile with the sizes that inputs may have, TF32 off, known timings.

        Raises EngineError if an input's size is not known.
        """
        trt = self._trt
        config = self.builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)
        profile = self.builder.create_optimization_profile()
        for i in range(self.network.num_inputs):
            tensor = self.network.get_input(i)
            if min(tuple(tensor.shape), default=0) >= 0:
                continue
            if tensor.name not in sizes.largest:
                raise EngineError(f"{self._name}: the size of its input '{tensor.name}' is not known; export it again")
            largest = sizes.largest[tensor.name]
            profile.set_shape(tensor.name, sizes.smallest[tensor.name], largest, largest)  # the one in the middle: best
        config.add_optimization_profile(profile)
        if not config.set_timing_cache(config.create_timing_cache(timings), IGNORE_MISMATCH):
            report("TensorRT refuses the kept timings of kernels; they are taken again")
            config.set_timing_cache(config.create_timing_cache(b""), IGNORE_MISMATCH)
        self._progress = _progress_monitor(trt, report)
        config.progress_monitor = self._progress
        return config

    def build(self, config: Any) -> bytes:  # noqa: ANN401 (bindings)
        """The serialised engine; raises EngineError with TensorRT's words if there is none.

        What `report` raises, or Ctrl-C, ends the build and comes out here. The build has a thread of its own: Python
        delivers signals to the main thread, and within TensorRT they are lost in the callback that they hit.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="build-engine") as builder:
            building = builder.submit(self.builder.build_serialized_network, self.network, config)
            try:
                built = building.result()
            except KeyboardInterrupt as interruption:
                self._progress.interruption = interruption  # the next step ends the build, for which the block waits
                raise
        if built is None and self._progress.interruption is not None:
            raise self._progress.interruption
        if built is None:
            raise self._refusal([])
        return bytes(memoryview(built))

    def _refusal(self, reasons: list[str]) -> EngineError:
        reason = "; ".join(dict.fromkeys([*reasons, *self._log.complaints])) or "without a reason"
        return EngineError(f"TensorRT {self._trt.__version__} refuses {self._name} ({' '.join(reason.split())})")


@cache
def logger(trt: Bindings) -> Any:  # noqa: ANN401 (bindings)
    """The process's one logger, never freed: TensorRT keeps using the first that it gets. Its `complaints` are the
    last errors."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.complaints: deque[str] = deque(maxlen=KEPT_COMPLAINTS)

        def log(self, severity: Any, msg: str) -> None:  # noqa: ANN401 (bindings)
            if severity <= trt.ILogger.Severity.ERROR:
                self.complaints.append(msg)

    return Log()


def _progress_monitor(trt: Bindings, report: Callable[[str], None]) -> Any:  # noqa: ANN401 (bindings)
    """Reports every REPORT_EVERY_S how far the build is; an exception, Ctrl-C too, ends the build and is kept in
    `interruption`. TensorRT calls it from threads of its own, through which no exception can pass."""

    class Progress(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}
            self.started_s = self.reported_s = time.monotonic()
            self.interruption: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                self.report_step(phase_name, step)
            except BaseException as error:  # returning False is how a build is ended
                self.interruption = error
            return self.interruption is None

        def report_step(self, phase_name: str, step: int) -> None:
            now_s = time.monotonic()
            if now_s - self.reported_s >= REPORT_EVERY_S:
                self.reported_s = now_s
                steps = self.steps.get(phase_name, 0)
                report(f"building: {phase_name}, step {step + 1} of {steps}, {now_s - self.started_s:.0f} s so far")

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Progress()
