"""Memory of a training's processes on a large data set: run as a program, so that nothing else is in it."""

import sys
from pathlib import Path

import psutil

from kd_perception.resources import resource
from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import load_config
from kd_training.loop.loading import batches_of_workers
from kd_training.loop.malloc import tune_malloc
from kd_training.tasks.student import StudentTask

CONFIG = "config/training/bevdet_demo.yaml"


def memory_of(folder: Path, version: str, workers: int, batches: int) -> tuple[list[str], int]:
    """Proportional MB of this process and of the largest worker after its first batches, and after so many; and how
    many keyframes there are."""
    source = f"[{{root: {folder}, version: {version}, split: train}}]"
    config = load_config(resource(CONFIG), [f"data.roots={source}", "data.validation=[]"])
    tune_malloc()
    task = StudentTask(config)
    loaded, _ = batches_of_workers(task.batches(RunPlan(batches)), range(batches), workers)
    cells = []
    for number, _ in enumerate(loaded):
        if number in (workers, batches - 1):
            cells += _proportional_mb()
    return cells, len(task.frames)


def _proportional_mb() -> tuple[str, str]:
    """This process, and the largest of those it started."""
    main = psutil.Process()
    return tuple(f"{value:.0f}" for value in (_pss(main), max(map(_pss, main.children()))))


def _pss(process: psutil.Process) -> float:
    return process.memory_full_info().pss / 1e6


if __name__ == "__main__":
    found, keyframes = memory_of(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    print(keyframes, *found)
