"""How fast a configuration trains here, and how long it waits for its batches: by the loop's own functions."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from kd_training.config.experiment import AnyConfig
from kd_training.loop.train import load_batches, open_run, train_step
from kd_training.tasks.task import DeviceBatch


@dataclass(frozen=True)
class TrainingSpeed:
    """Samples per second of wall time, seconds of a step, and the share of them spent waiting for batches (0 to 1)."""

    samples_per_s: float
    step_s: float
    data_share: float


class _WaitedFor:
    """Batches, and the seconds that were spent waiting for them."""

    def __init__(self, batches: Iterator[DeviceBatch]) -> None:
        self._batches, self.seconds = batches, 0.0

    def __iter__(self) -> Iterator[DeviceBatch]:
        return self

    def __next__(self) -> DeviceBatch:
        began = time.perf_counter()
        batch = next(self._batches)
        self.seconds += time.perf_counter() - began
        return batch


def training_speed(config: AnyConfig, out: Path, *, warm: int, count: int) -> TrainingSpeed:
    """Train `warm` steps that do not count and `count` that do, from the beginning; `out` takes the events only."""
    short = replace(config, schedule=replace(config.schedule, steps=warm + count))
    run = open_run(short, out, None, resume=False)
    run.wrapped.train()
    with closing(load_batches(run, config.data.workers)) as batches:
        waited = _WaitedFor(batches)
        for step in range(warm + count):
            if step == warm:
                _finish()
                waited.seconds, began = 0.0, time.perf_counter()
            train_step(run, waited, step)
        _finish()
        seconds = time.perf_counter() - began
    return TrainingSpeed(count * run.state.step_samples / seconds, seconds / count, waited.seconds / seconds)


def _finish() -> None:
    """Wait for what a GPU still computes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
