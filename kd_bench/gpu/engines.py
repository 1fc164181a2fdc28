"""An exported student on every engine that opens here: agreement with the CPU, latency, and memory over many frames."""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from kd_perception.engines.base import AUTO_ORDER, open_engine
from kd_perception.engines.protocol import Engine, EngineOptions, Tensor, keep
from kd_perception.errors import EngineError
from kd_perception.parity.tolerances import raw_errors
from kd_perception.student.spec import MEMORY_INPUT, MEMORY_OUTPUT, Student

REFERENCE = "onnxruntime"  # on the CPU
WARM = 10  # frames that are not timed
SETTLED = 0.1  # of the leak check's frames: after them memory must not grow any more
KEPT = 12  # memories that a robot holds at most, at a steady rate
LEAK_SHARE = 0.5  # of the time
MEGABYTE = 1e6


@dataclass(frozen=True)
class EngineTrials:
    """What is measured: frames that are timed, frames of the leak check, and seconds after which neither goes on."""

    cache: Path
    seconds: float
    frames: int = 200
    leak_frames: int = 10_000
    names: Sequence[str] = AUTO_ORDER


@dataclass(frozen=True)
class EngineFigures:
    """One file on one engine.

    opened_s: with all that was built; errors: greatest |difference| / max(1, |reference|) from REFERENCE on the same
    file, by output; reports: what the engine said while it was opened.
    """

    opened_s: float
    errors: dict[str, float]
    p50_ms: float
    p99_ms: float
    frames: int
    reports: list[str]


@dataclass(frozen=True)
class LeakFigures:
    """Megabytes over many frames of a drive: once things had settled, and how many more at the end; those of the GPU
    are the whole device's, 0 without one."""

    frames: int
    process_mb: float
    process_growth_mb: float
    gpu_mb: float
    gpu_growth_mb: float


def engine_trials(
    students: Mapping[str, Student], inputs: Mapping[str, np.ndarray], trials: EngineTrials
) -> dict[str, Any]:
    """By precision and engine its figures, or the sentence why it did not open; the first that opened is then checked
    for leaks.

    `students`: one student by precision; `inputs`: a frame of it, with a memory if it has one.
    """
    files: dict[str, dict[str, Any]] = {}
    share = (1.0 - LEAK_SHARE) * trials.seconds / (len(students) * len(trials.names))
    for precision, student in students.items():
        reference = open_engine(REFERENCE, student, len(inputs["images"]))
        expected = {name: keep(value) for name, value in reference.run(inputs).items()}
        files[precision] = {}
        for name in trials.names:
            try:
                figures = _figures(name, student, _Frame(inputs, expected), trials, share)
                files[precision][name] = asdict(figures)
            except EngineError as error:
                files[precision][name] = str(error)
    found: dict[str, Any] = {"reference": REFERENCE, "files": files}
    for precision, engines in files.items():
        for name in (name for name, figures in engines.items() if isinstance(figures, dict)):
            engine = open_engine(name, students[precision], len(inputs["images"]), EngineOptions(0, trials.cache))
            leaks = leak_check(engine, inputs, trials.leak_frames, LEAK_SHARE * trials.seconds)
            return found | {"leaks": {"engine": name, "file": precision, **asdict(leaks)}}
    return found


@dataclass(frozen=True)
class _Frame:
    """Inputs, and the outputs that are expected."""

    inputs: Mapping[str, np.ndarray]
    expected: Mapping[str, np.ndarray]


def _figures(name: str, student: Student, frame: _Frame, trials: EngineTrials, seconds: float) -> EngineFigures:
    reports: list[str] = []
    began = time.monotonic()
    engine = open_engine(name, student, len(frame.inputs["images"]), EngineOptions(0, trials.cache, reports.append))
    opened_s = time.monotonic() - began
    errors = raw_errors({key: _on_host(value) for key, value in engine.run(frame.inputs).items()}, frame.expected)
    took_ms = []
    for outputs_ms in _drive(engine, frame.inputs, WARM + trials.frames, seconds):
        took_ms.append(outputs_ms)
    timed = took_ms[WARM:] or took_ms
    p50, p99 = np.percentile(timed, [50, 99])
    return EngineFigures(
        round(opened_s, 2), {key: float(f"{value:.2g}") for key, value in errors.items()}, round(float(p50), 3),
        round(float(p99), 3), len(timed), reports,
    )  # fmt: skip


def leak_check(engine: Engine, inputs: Mapping[str, np.ndarray], frames: int, seconds: float) -> LeakFigures:
    """Run `frames`, fewer if `seconds` are over, and watch the memory of this process and of the GPU."""
    settled, count = (0.0, 0.0), 0
    began = time.monotonic()
    for count, _ in enumerate(_drive(engine, inputs, frames, seconds), 1):
        if count <= SETTLED * frames and time.monotonic() - began <= SETTLED * seconds or count == 1:
            settled = _memory_mb()
    process_mb, gpu_mb = _memory_mb()
    return LeakFigures(
        count, round(settled[0], 1), round(process_mb - settled[0], 1), round(settled[1], 1),
        round(gpu_mb - settled[1], 1),
    )  # fmt: skip


def _drive(engine: Engine, inputs: Mapping[str, np.ndarray], frames: int, seconds: float) -> Iterator[float]:
    """Milliseconds of each frame, as on a robot: tables are constants, what is remembered comes in again."""
    given: dict[str, Tensor] = {name: _constant(value) for name, value in inputs.items()}
    given["images"] = inputs["images"]
    ring: deque[Tensor] = deque(maxlen=KEPT)
    until = time.monotonic() + seconds
    for _ in range(frames):
        began = time.perf_counter()
        outputs = engine.run(given)
        if MEMORY_OUTPUT in outputs:
            ring.append(keep(outputs[MEMORY_OUTPUT]))
            given[MEMORY_INPUT] = ring[0]
        yield 1e3 * (time.perf_counter() - began)
        if time.monotonic() > until:
            return


def _constant(value: np.ndarray) -> np.ndarray:
    copy = value.copy()
    copy.flags.writeable = False
    return copy


def _on_host(value: Tensor) -> np.ndarray:
    return value if isinstance(value, np.ndarray) else value.numpy()


def _memory_mb() -> tuple[float, float]:
    """Of this process, and used on the GPU."""
    process = psutil.Process().memory_info().rss / MEGABYTE
    if not torch.cuda.is_available():
        return process, 0.0
    free, total = torch.cuda.mem_get_info()
    return process, (total - free) / MEGABYTE
