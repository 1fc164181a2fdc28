"""Milliseconds of files on engines, in turns in one run, so that what disturbs one disturbs the others."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kd_bench.precision.files import labels_of
from kd_perception.engines.base import open_engine
from kd_perception.engines.protocol import EngineOptions
from kd_perception.geometry.camera import ring_rig
from kd_perception.runtime.bev_memory import memory_inputs
from kd_perception.student.geometry_inputs import geometry_inputs
from kd_perception.student.spec import MEMORY_INPUTS, Student, StudentSpec

WARM_UP, SEED = 3, 0


@dataclass(frozen=True)
class TimedFile:
    """Milliseconds of one file, as tables call it, on one engine: the median and the least of the turns."""

    label: str
    engine: str
    median: float
    least: float


def time_files(files: Sequence[Student], engines: Sequence[str], turns: int, threads: int) -> list[TimedFile]:
    """The whole network of every file on every engine, `turns` times in turn."""
    inputs = noise_inputs(files[0].spec)
    pairs = [(student, engine) for engine in engines for student in files]
    labels = labels_of(files) * len(engines)
    opened = [
        open_engine(engine, student, files[0].spec.trained_cameras, EngineOptions(threads=threads))
        for student, engine in pairs
    ]
    spent: list[list[float]] = [[] for _ in pairs]
    for turn in range(WARM_UP + turns):
        for engine, times in zip(opened, spent, strict=True):
            start = time.perf_counter()
            engine.run(inputs)
            if turn >= WARM_UP:
                times.append(1e3 * (time.perf_counter() - start))
    return [
        TimedFile(label, engine, float(np.median(times)), min(times))
        for label, (_, engine), times in zip(labels, pairs, spent, strict=True)
    ]


def noise_inputs(spec: StudentSpec) -> dict[str, np.ndarray]:
    """Inputs of a ring of ideal cameras with noise images, and a memory of noise: time does not depend on values."""
    height, width = spec.image_size
    cameras, rng = spec.trained_cameras, np.random.default_rng(SEED)
    inputs = {"images": rng.integers(0, 256, (cameras, height, width, 3), np.uint8)}
    inputs["camera_valid"] = np.ones(cameras, np.float32)
    inputs |= geometry_inputs(spec, ring_rig(cameras, width, height), [np.eye(3)] * cameras)
    if spec.memory is not None:
        feature = rng.random(spec.memory_shape, dtype=np.float32)
        remembered = memory_inputs(spec.grid, feature, np.eye(4), spec.memory.interval_s)
        inputs |= {name: remembered[name] for name in MEMORY_INPUTS}
    return inputs
