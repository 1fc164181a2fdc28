"""Writes a synthetic data set in nuScenes format: scenes in parallel, resumable, the same bytes for a seed whatever
the number of jobs.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from kd_perception.atomic import write_text
from kd_perception.errors import DataError
from kd_training.synthetic.card import Fact, write_card
from kd_training.synthetic.config import SynthConfig
from kd_training.synthetic.scene import render_scene
from kd_training.synthetic.tables import write_tables

TABLES_EVERY = 8  # scenes; so that readers can start on what is finished
FOLDERS = ("samples", "sweeps", "masks", "depth")
SETTINGS = "settings.json"  # what a folder was begun with


def finished(config: SynthConfig) -> list[int]:
    """Indices of the scenes already rendered. Raises DataError if the folder was begun with other settings."""
    begun = config.out / SETTINGS
    scenes = sorted((config.out / "scenes").glob("*.json"))
    for path in [begun, *scenes[:1], *(config.scene_file(index) for index in range(config.scenes))]:
        if path.exists():
            found = json.loads(path.read_text())["content"]
            if found != config.content:
                raise DataError(
                    f"{path} was rendered with other settings ({found}, not {config.content}); "
                    "choose another --out or delete that folder"
                )
    return [index for index in range(config.scenes) if config.scene_file(index).exists()]


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """Worker processes inherit one thread for BLAS, so that sums do not depend on the machine's core count."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def generate(config: SynthConfig, on_scene: Callable[[int, int], None] | None = None) -> None:
    """Render what is missing, then write the tables and the card; `on_scene(done, total)` reports progress.

    Interrupted at any moment, a second call continues and ends with the same bytes. Raises DataError if `out` holds
    other content.
    """
    done = finished(config)
    missing = [index for index in range(config.scenes) if index not in done]
    if not (config.out / SETTINGS).exists():
        write_text(config.out / SETTINGS, json.dumps({"content": config.content}))
    report = on_scene or (lambda count, total: None)
    report(len(done), config.scenes)
    _remove_temporaries(config.out)
    if missing:
        try:
            _render_missing(config, missing, done, report)
        finally:
            _remove_temporaries(config.out)
    files = [config.scene_file(index) for index in range(config.scenes)]
    write_tables(config.out, files)
    facts = [[Fact(*row) for row in frame] for path in files for frame in json.loads(path.read_text())["facts"]]
    settings = {"scenes": config.scenes} | {
        name: value for name, value in config.content.items() if "version" not in name
    }
    write_card(config.out, [fact for frame in facts for fact in frame], len(facts), settings)


def _render_missing(
    config: SynthConfig, missing: list[int], done: list[int], report: Callable[[int, int], None]
) -> None:
    """Render scenes in worker processes; on any exception, Ctrl-C included, the workers are ended before it goes on."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with (
        _single_threaded_children(),
        ProcessPoolExecutor(min(config.jobs, len(missing)), mp_context=context, initializer=_ignore_interrupts) as pool,
    ):
        try:
            pending = {pool.submit(render_scene, config, index): index for index in missing}
            while pending:
                ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in ready:
                    future.result()
                    done.append(pending.pop(future))
                    report(len(done), config.scenes)
                    if len(done) % TABLES_EVERY == 0 and pending:
                        write_tables(config.out, [config.scene_file(index) for index in sorted(done)])
        except BrokenProcessPool:
            raise DataError(
                f"a rendering process ended unexpectedly (out of memory?); run the same command again with fewer "
                f"--jobs than {config.jobs}, the finished scenes in {config.out} are kept"
            ) from None
        except BaseException:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches a terminal's every process; the parent ends these


def _remove_temporaries(out: Path) -> None:
    """Remove what a killed worker was writing (`atomic_path` names it with a leading dot)."""
    for folder in (*(f for kind in FOLDERS for f in out.glob(f"{kind}/*")), out / "scenes"):
        for path in folder.glob(".*"):
            path.unlink(missing_ok=True)
