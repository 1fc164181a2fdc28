"""Runs the scenes of a data set in worker processes: resumable, nothing half-written, one folder for one content."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from kd_perception.atomic import write_text
from kd_perception.errors import DataError

TABLES_EVERY = 8  # scenes; so that readers can start on what is finished
FOLDERS = ("samples", "sweeps", "masks", "depth")
SETTINGS = "settings.json"  # what a folder was begun with


class Plan(Protocol):
    """A data set to render: `scenes` scenes into `out`, `jobs` at a time; `content` is what a scene's bytes depend on.
    It is sent to the workers.
    """

    out: Path
    jobs: int

    @property
    def scenes(self) -> int: ...

    @property
    def content(self) -> Mapping[str, object]: ...

    def scene_file(self, index: int) -> Path:
        """The file that says scene `index` is finished, and holds its rows."""


P = TypeVar("P", bound=Plan)
Report = Callable[[int, int], None]


def finished(config: Plan) -> list[int]:
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


def run_scenes(
    config: P,
    render: Callable[[P, int], None],
    on_scene: Report | None = None,
    on_some: Callable[[list[Path]], None] | None = None,
) -> list[Path]:
    """Render what is missing with `render(config, index)` and return the scene files; `on_scene(done, total)` reports
    progress, `on_some(scene files so far)` is called now and then in a long run.

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
            _render_missing(config, render, missing, done, report, on_some or (lambda files: None))
        finally:
            _remove_temporaries(config.out)
    return [config.scene_file(index) for index in range(config.scenes)]


def _render_missing(
    config: P,
    render: Callable[[P, int], None],
    missing: list[int],
    done: list[int],
    report: Report,
    on_some: Callable[[list[Path]], None],
) -> None:
    """Render scenes in worker processes; on any exception, Ctrl-C included, the workers are ended before it goes on."""
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with (
        _single_threaded_children(),
        ProcessPoolExecutor(min(config.jobs, len(missing)), mp_context=context, initializer=_ignore_interrupts) as pool,
    ):
        try:
            pending = {pool.submit(render, config, index): index for index in missing}
            while pending:
                ready, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in ready:
                    future.result()
                    done.append(pending.pop(future))
                    report(len(done), config.scenes)
                    if len(done) % TABLES_EVERY == 0 and pending:
                        on_some([config.scene_file(index) for index in sorted(done)])
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
