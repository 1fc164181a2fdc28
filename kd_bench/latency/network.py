"""All measurements of one network: its operators, the same in other engines, and whole frames."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from kd_bench.dataset_frames import BenchFrame
from kd_bench.latency.frames import LatencySetup, measure_frames
from kd_bench.latency.peers import EAGER, engine_peers, time_peers, torch_peers
from kd_bench.latency.report import NetworkReport
from kd_bench.operators import Operator, onnxruntime_operators, openvino_operators
from kd_perception.runtime.frame import FrameRecord
from kd_perception.runtime.pipeline import Pipeline
from kd_perception.student.spec import Student
from kd_training.checkpoints.export import example_memory

PROFILES: dict[str, Callable[..., list[Operator]]] = {
    "openvino": openvino_operators,
    "onnxruntime": onnxruntime_operators,
}
PROFILED_ROUNDS = 20


def measure_network(student: Student, measured: LatencySetup, scratch: Path, *, torch: bool) -> NetworkReport:
    """Measure a student; with `torch` also its modules, if its weights lie next to it. `scratch`: an empty folder."""
    cameras, threads = len(measured.frames[0].cameras), measured.threads
    inputs = _inputs(student, measured.frames[0], measured.engine)
    precision = _precision(student)
    peers, missing = engine_peers(student, inputs, cameras, threads, precision=precision)
    if torch and student.path.with_suffix(".safetensors").is_file():
        modules, without = torch_peers(student, inputs, threads)
        peers, missing = [*modules, *peers], [*missing, *without]
    times = time_peers(peers, measured.rounds)
    operators = PROFILES[measured.engine](student, cameras, threads, inputs, PROFILED_ROUNDS)
    whole = measure_frames(student, measured, scratch)
    eager_ms = min((peer.best_ms for peer in times if peer.name.startswith(EAGER)), default=None)
    return NetworkReport(student, precision, tuple(operators), tuple(times), whole, tuple(missing), eager_ms)


def with_eager(reports: Sequence[NetworkReport]) -> list[NetworkReport]:
    """A file without modules of its own, an int8 one, is compared with those of the student whose name begins its."""
    known = {report.student.spec.name: report.eager_ms for report in reports if report.eager_ms is not None}
    found = []
    for report in reports:
        name = next((name for name in known if report.student.spec.name.startswith(name)), None)
        found.append(report if report.eager_ms is not None or name is None else replace(report, eager_ms=known[name]))
    return found


def _precision(student: Student) -> str:
    """As the file states it; foreign files may round to int8 without saying so."""
    kinds = {node.op_type for node in onnx.load(student.path, load_external_data=False).graph.node}
    return "int8" if "QuantizeLinear" in kinds else student.spec.precision


def _inputs(student: Student, frame: BenchFrame, engine: str) -> dict[str, np.ndarray]:
    """The network's inputs for a frame, with something remembered if it has memory."""
    pipeline = Pipeline(student, engine, len(frame.cameras))
    pipeline.set_rig(frame.cameras)
    record = FrameRecord(images=frame.images)
    pipeline.prepare(record)
    pipeline.close()
    spec = student.spec
    if spec.memory is None:
        return record.inputs
    feature = np.random.default_rng(0).random(spec.memory_shape, dtype=np.float32)
    return record.inputs | example_memory(spec, feature)
