"""`kd bench tables`: seconds and memory that a data set of nuScenes' size takes, to open it and to read it."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.large_tables.made_tables import MadeTables, write_sensor_files
from kd_bench.options import ReportFile
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.datasets.devkit import create_splits_scenes
from kd_perception.datasets.index_cache import FOLDER
from kd_perception.datasets.nuscenes import open_nuscenes

VERSION = "v1.0-made"
HEADINGS = ("opening", "keyframes", "seconds", "processor s", "peak MB")
TABLES, FRAMES = "tables", "training's keyframes"
METHOD = """Each line is a process of its own; peak memory is that of the whole process, PyTorch included. The first
start checks the tables and makes the index; later ones read it. On a busy machine seconds are more than processor
seconds: the work is one thread's."""
MEMORY_HEADINGS = ("workers", "keyframes", "main, MB", "worker, MB", "main at the end", "worker at the end")
MEMORY_METHOD = """Proportional set size (pages that processes share are divided among them) of the demo student's
training, and of its largest worker: after the first batches, and after {samples} samples of six pictures of 1600x900
and a cloud. All exposures of a sensor are one file."""


def tables(
    *,
    folder: Annotated[Path, typer.Option(help="Where the made tables go, or lie already.")] = Path("out/large_tables"),
    scenes: Annotated[int, typer.Option(min=1, max=850, help="Scenes; nuScenes has 850 with boxes.")] = 850,
    batches: Annotated[int, typer.Option(min=6, help="Batches of 4 that the workers read.")] = 60,
    report: ReportFile = None,
) -> None:
    """Time the start of a training on tables of nuScenes' size, and measure the memory of its processes."""
    console = Console()
    splits = create_splits_scenes()
    made = MadeTables(tuple(sorted(splits["train"] + splits["val"])[:scenes]))
    if not (folder / VERSION).is_dir():
        with console.status(f"writing tables of {scenes} scenes"):
            made.write(folder / VERSION)
    write_sensor_files(folder, made.seed)
    for index in (folder / VERSION / FOLDER).glob("*.index"):
        index.unlink()
    lines = [("tables, first start", TABLES), ("tables, index there", TABLES), ("keyframes, index there", FRAMES)]
    rows, memory = [], []
    for name, what in lines:
        with console.status(name):
            rows.append((name, *_measured("command", str(folder), what)))
    console.print(terminal_table(f"{scenes} scenes of {made.keyframes} keyframes", HEADINGS, rows))
    for workers in ("2", "4"):
        with console.status(f"reading samples with {workers} workers"):
            memory.append((workers, *_measured("workers", str(folder), VERSION, workers, str(batches))))
    console.print(terminal_table("memory of training's processes", MEMORY_HEADINGS, memory))
    if report is not None:
        facts = {"tables": f"made, seed {made.seed}, {scenes} scenes of {made.keyframes} keyframes"}
        opening = f"{markdown_table(HEADINGS, rows)}\n\n{METHOD}"
        reading = f"{markdown_table(MEMORY_HEADINGS, memory)}\n\n{MEMORY_METHOD.format(samples=4 * batches)}"
        write_report(report, "Large tables", facts, f"## Opening\n\n{opening}\n\n## Reading\n\n{reading}")


def _measured(program: str, *arguments: str) -> tuple[str, ...]:
    """The cells that a program of this folder prints."""
    command = [sys.executable, "-m", f"kd_bench.large_tables.{program}", *arguments]
    return tuple(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split())


def _open_once(folder: Path, what: str) -> None:
    start, used = time.perf_counter(), time.process_time()
    if what == FRAMES:
        from kd_training.config.sections import DataRoot
        from kd_training.data.frames import open_frames

        start, used = time.perf_counter(), time.process_time()
        count = len(open_frames([DataRoot(root=str(folder), version=VERSION)]).facts)
    else:
        count = len(open_nuscenes(folder, VERSION).sample)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(count, f"{seconds:.1f}", f"{processor:.1f}", f"{peak_mb:.0f}")


if __name__ == "__main__":
    _open_once(Path(sys.argv[1]), sys.argv[2])
