"""`kd bench tables`: seconds and memory that opening a data set of nuScenes' size takes, without and with an index."""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from nuscenes.utils.splits import create_splits_scenes
from rich.console import Console

from kd_bench.large_tables.made_tables import MadeTables
from kd_bench.options import ReportFile
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.datasets.nuscenes import open_nuscenes

VERSION = "v1.0-made"
HEADINGS = ("opening", "keyframes", "seconds", "processor s", "peak MB")
TABLES, FRAMES = "tables", "training's keyframes"
METHOD = """Each line is a process of its own; peak memory is that of the whole process, PyTorch included.
The first start checks the tables and makes the index; later ones read it."""


def tables(
    *,
    folder: Annotated[Path, typer.Option(help="Where the made tables go, or lie already.")] = Path("out/large_tables"),
    scenes: Annotated[int, typer.Option(min=1, max=850, help="Scenes; nuScenes has 850 with boxes.")] = 85,
    report: ReportFile = None,
) -> None:
    """Time the start of a training on tables of nuScenes' size, and measure its memory; no sensor files are needed."""
    console = Console()
    splits = create_splits_scenes()
    made = MadeTables(tuple(sorted(splits["train"] + splits["val"])[:scenes]))
    if not (folder / VERSION).is_dir():
        with console.status(f"writing tables of {scenes} scenes"):
            made.write(folder / VERSION)
    lines = [("tables, first start", TABLES), ("tables, index there", TABLES), ("keyframes, index there", FRAMES)]
    rows = []
    for name, what in lines:
        with console.status(name):
            rows.append((name, *_measured(folder, what)))
    console.print(terminal_table(f"{scenes} scenes of {made.keyframes} keyframes", HEADINGS, rows))
    if report is not None:
        facts = {"tables": f"made, seed {made.seed}, {scenes} scenes of {made.keyframes} keyframes"}
        write_report(report, "Large tables", facts, f"{markdown_table(HEADINGS, rows)}\n\n{METHOD}")


def _measured(folder: Path, what: str) -> tuple[str, ...]:
    """The cells of a line, from a process that opens the data set once."""
    command = [sys.executable, "-m", "kd_bench.large_tables.command", str(folder), what]
    return tuple(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def _open_once(folder: Path, what: str) -> None:
    start, used = time.perf_counter(), time.process_time()
    if what == FRAMES:
        from kd_training.config.sections import DataRoot
        from kd_training.data.frames import open_frames

        start, used = time.perf_counter(), time.process_time()
        count = len(open_frames([DataRoot(root=str(folder), version=VERSION)]))
    else:
        count = len(open_nuscenes(folder, VERSION).sample)
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    print(count, f"{seconds:.1f}", f"{processor:.1f}", f"{peak_mb:.0f}")


if __name__ == "__main__":
    _open_once(Path(sys.argv[1]), sys.argv[2])
