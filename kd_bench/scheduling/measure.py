"""The measurements of `kd bench scheduling`, each taken in turns, so that a disturbance hits all rivals alike."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from kd_bench.options import EngineChoice
from kd_bench.scheduling.rigs_at_once import RigsFile, write_rigs_file
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import Engine, EngineOptions
from kd_perception.geometry.camera import ring_rig
from kd_perception.runtime.synchroniser import Synchroniser
from kd_perception.student.decode import decode
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.spec import OUTPUTS, Student, StudentSpec

BATCHES = (1, 2, 4)  # rigs in one call
PAIR = "2 rigs, each on half of the threads"
NS = 1_000_000_000
SECONDS = 60.0  # of cameras that are played


def time_batches(student: Student, engine: EngineChoice, rounds: int, folder: Path) -> dict[str, list[float]]:
    """Milliseconds of a call, by how many rigs it takes; PAIR: two engines side by side until both are done."""
    options = EngineOptions(threads=engine.threads)
    files = {rigs: write_rigs_file(student, rigs, folder) for rigs in BATCHES}
    calls = {_name(rigs): _call(engine.name, file, options) for rigs, file in files.items()}
    if engine.threads > 1:
        half = EngineOptions(threads=engine.threads // 2)
        pair = [_call(engine.name, files[1], half) for _ in range(2)]
        side_by_side = ThreadPoolExecutor(2)
        calls[PAIR] = lambda: list(side_by_side.map(lambda call: call(), pair))
    return _in_turns(calls, rounds)


def rigs_of(name: str) -> int:
    """How many rigs a call of `time_batches` answers."""
    return int(name.split(" ", 1)[0])


def time_cameras(student: Student, engine: EngineChoice, cameras: int, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of the whole file for all cameras, and for all but one."""
    options = EngineOptions(threads=engine.threads)
    height, width = student.spec.image_size
    calls = {}
    for count in (cameras, cameras - 1):
        rig = ring_rig(count, width, height)
        inputs = {
            "images": np.full((count, height, width, 3), 90, np.uint8),
            "camera_valid": np.ones(count, np.float32),
        }
        inputs |= geometry_inputs(student.spec, rig, [np.eye(3)] * count)
        calls[f"{count} cameras"] = _run(open_engine(engine.name, student, count, options), inputs)
    return _in_turns(calls, rounds)


def time_densities(spec: StudentSpec, boxes: tuple[int, ...], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of decoding so many objects, well apart on the grid."""
    rows, columns = spec.grid.shape
    codes = np.zeros((len(spec.classes.groups), len(spec.coding.names), rows, columns), np.float32)
    calls = {}
    for count in boxes:
        heatmap = np.zeros((len(spec.classes.names), rows, columns), np.float32)
        places = np.linspace(0, heatmap.size - 1, count, dtype=np.int64)
        heatmap.reshape(-1)[places] = 0.5
        outputs = dict(zip(OUTPUTS, (heatmap, codes), strict=True))
        calls[f"{count} objects"] = _decode(spec, outputs)
    return _in_turns(calls, rounds)


def repeated_share(anchor_hz: float, camera_hz: float, tolerance_s: float, deadline_s: float) -> tuple[float, float]:
    """Shares of a camera's places in frames that hold the image of the frame before, and no image: a camera of its own
    rate next to an anchor, exposures a quarter of the anchor's period apart."""
    shots = [(round(k * NS / anchor_hz), 0) for k in range(int(SECONDS * anchor_hz))]
    shots += [(round((k / camera_hz + 0.25 / anchor_hz) * NS), 1) for k in range(int(SECONDS * camera_hz))]
    sync = Synchroniser[int](("anchor", "other"), round(tolerance_s * NS), deadline_s)
    frames = []
    for stamp_ns, camera in sorted(shots):
        frames += sync.poll(stamp_ns / NS).frames
        frames += sync.add(camera, stamp_ns, stamp_ns, stamp_ns / NS).frames
    images = [record.messages[1] for record in frames]
    repeats = sum(now is not None and now == before for before, now in zip(images, images[1:], strict=False))
    return repeats / len(images), images.count(None) / len(images)


def _name(rigs: int) -> str:
    return "1 rig" if rigs == 1 else f"{rigs} rigs in one call"


def _call(name: str, rigs: RigsFile, options: EngineOptions) -> Callable[[], object]:
    return _run(open_engine(name, rigs.file, rigs.cameras, options), rigs.example.by_name)


def _run(engine: Engine, inputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
    return lambda: engine.run(inputs)


def _decode(spec: StudentSpec, outputs: Mapping[str, np.ndarray]) -> Callable[[], object]:
    heatmap, regression = (outputs[name] for name in OUTPUTS)
    return lambda: decode(heatmap, regression, spec.grid, 0.1, classes=spec.classes, coding=spec.coding)


def _in_turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, after one that does not count."""
    times: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds + 1):
        for name, call in calls.items():
            start_s = time.perf_counter()
            call()
            if number:
                times[name].append(1e3 * (time.perf_counter() - start_s))
    return dict(times)
