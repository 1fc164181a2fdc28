"""The same network on the same inputs in eager and compiled PyTorch, ONNX Runtime and OpenVINO, in turns."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from kd_bench.progress import Show, silent
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.errors import EngineError
from kd_perception.parity.tolerances import RAW_TOLERANCE, raw_errors
from kd_perception.student.spec import Student
from kd_training.checkpoints.models import load_model
from kd_training.models.students.camera_student import CameraStudent

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
FILE_ENGINES = ("onnxruntime", "openvino")
SETTLE = 2  # runs of a peer before its times count
EAGER = "eager PyTorch"
Run = Callable[[], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Peer:
    """A way to run a network; `run` gives its outputs by name. precision: what the file states, "fp32" for modules."""

    name: str
    precision: str
    run: Run


@dataclass(frozen=True)
class PeerTimes:
    """Of one peer: milliseconds and processor seconds of each round; apart: greatest raw error against eager."""

    name: str
    precision: str
    ms: tuple[float, ...]
    cpu_s: tuple[float, ...]
    apart: float

    @property
    def best_ms(self) -> float:
        """Of all rounds: what the code takes where nothing else runs, as far as a busy machine lets one see it."""
        return min(self.ms)


def torch_peers(student: Student, inputs: Mapping[str, np.ndarray], threads: int) -> tuple[list[Peer], list[str]]:
    """Eager in each layout, compiled in the one that is usually faster; and why a peer is missing."""
    torch.set_num_threads(threads)
    weights = student.path.with_suffix(".safetensors")
    peers = [Peer(f"{EAGER}, {name}", "fp32", _eager(weights, layout, inputs)) for name, layout in LAYOUTS.items()]
    model = _in_layout(load_model(weights), torch.channels_last)
    compiled = _runner(model, torch.compile(model), inputs)
    logging.getLogger("torch._inductor").setLevel(logging.ERROR)
    try:
        compiled()
    except Exception as error:  # no compiler, an operator that it lacks: its types are many
        reason = next(iter(str(error).splitlines()), "no reason given")
        return peers, [f"compiled PyTorch does not run here ({type(error).__name__}: {reason})"]
    return [*peers, Peer("compiled PyTorch", "fp32", compiled)], []


def engine_peers(
    student: Student, inputs: Mapping[str, np.ndarray], cameras: int, threads: int, *, precision: str
) -> tuple[list[Peer], list[str]]:
    """The file in every engine for CPUs that opens it; and why one does not."""
    peers, missing = [], []
    for name in FILE_ENGINES:
        try:
            engine = open_engine(name, student, cameras, EngineOptions(threads=threads))
            engine.run(inputs)
            peers.append(Peer(f"{name}, {precision}", precision, lambda engine=engine: engine.run(inputs)))
        except EngineError as error:
            missing.append(str(error))
    return peers, missing


def time_peers(peers: Sequence[Peer], rounds: int, progress: Show = silent) -> list[PeerTimes]:
    """Every peer once a round, in turns, so that a disturbance hits all alike. The first peer is the reference.

    Raises EngineError where a float32 peer answers something else than the reference: its time would mislead.
    """
    reference = {name: np.array(value) for name, value in peers[0].run().items()}
    apart = []
    for peer in peers:
        for _ in range(SETTLE):
            outputs = peer.run()
        apart.append(max(raw_errors(outputs, reference).values()))
        if peer.precision == "fp32" and apart[-1] > RAW_TOLERANCE:
            raise EngineError(f"{peer.name} differs from {peers[0].name} by {apart[-1]:.1e}; export the student again")
    times: list[list[tuple[float, float]]] = [[] for _ in peers]
    for index in range(rounds):
        for peer, taken in zip(peers, times, strict=True):
            taken.append(timed(peer.run))
        progress(index + 1, rounds)
    rows = zip(peers, times, apart, strict=True)
    return [PeerTimes(p.name, p.precision, *zip(*taken, strict=True), error) for p, taken, error in rows]


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of a call, and processor seconds of all threads of this process meanwhile."""
    before, start = time.process_time(), time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start), time.process_time() - before


def _eager(weights: Path, layout: torch.memory_format, inputs: Mapping[str, np.ndarray]) -> Run:
    model = _in_layout(load_model(weights), layout)
    return _runner(model, model, inputs)


def _in_layout(model: CameraStudent, layout: torch.memory_format) -> CameraStudent:
    """The model with weights, and maps that enter its backbone and its encoder, in one memory layout."""
    model = model.eval().to(memory_format=layout)
    for module in (model.backbone, model.encoder):
        module.register_forward_pre_hook(lambda _, args: (args[0].contiguous(memory_format=layout),))
    return model


def _runner(model: CameraStudent, call: Callable, inputs: Mapping[str, np.ndarray]) -> Run:
    tensors = [torch.from_numpy(np.require(inputs[name], requirements="CW")) for name in model.input_names]

    def run() -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return dict(zip(model.spec.outputs, (value.numpy() for value in call(*tensors)), strict=True))

    return run
