"""Runs the scenes of a data set in worker processes: resumable, nothing half-written, one folder for one content."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from kd_perception.atomic import write_text
from kd_perception.errors import DataError
from kd_perception.interrupts import Interrupts, handled_interrupts

POLL_S = 0.2  # how long Ctrl-C may wait
TABLES_EVERY = 8  # scenes; so that readers can start on what is finished
FOLDERS = ("samples", "sweeps", "masks", "depth")
SETTINGS = "settings.json"  # the content that a folder was started with


class ScenePlan(Protocol):
    """A data set to render: `scenes` scenes into `out`, `jobs` at a time; `content` is what a scene's bytes depend on.
    It is sent to the workers.
    """

    out: Path
    jobs: int

    @property
    def scenes(self) -> int:
        """How many scenes the data set has."""

    @property
    def content(self) -> Mapping[str, object]:
        """The settings that a finished scene's bytes depend on."""

    def scene_file(self, index: int) -> Path:
        """The file that marks scene `index` as finished and holds its rows."""


P = TypeVar("P", bound=ScenePlan)


def finished(config: ScenePlan) -> list[int]:
    """Indices of the scenes already rendered. Raises DataError if the folder has other settings."""
    started = config.out / SETTINGS
    scenes = sorted((config.out / "scenes").glob("*.json"))
    for path in [started, *scenes[:1], *(config.scene_file(index) for index in range(config.scenes))]:
        if path.exists():
            found = json.loads(path.read_text())["content"]
            if found != config.content:
                raise DataError(
                    f"{path} was rendered with other settings ({found}, not {config.content}); "
                    "choose another --out or delete that folder"
                )
    return [index for index in range(config.scenes) if config.scene_file(index).exists()]


@contextmanager
def _inherited_by_workers() -> Iterator[None]:
    """Processes started inside have one thread for BLAS, so that sums do not depend on the machine's core count, and
    ignore Ctrl-C and SIGHUP from their start: a terminal sends them to each of its processes, and the parent ends all.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def run_scenes(
    config: P,
    render: Callable[[P, int], None],
    on_scene: Callable[[int, int], None] | None = None,
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
    progress = _Progress(config, done, on_scene or (lambda count, total: None), on_some or (lambda files: None))
    progress.report()
    _remove_temporaries(config.out)
    if missing:
        with handled_interrupts() as interrupts:
            try:
                _render_missing(progress, render, missing, interrupts)
            finally:
                _remove_temporaries(config.out)
    return [config.scene_file(index) for index in range(config.scenes)]


@dataclass(frozen=True)
class _Progress(Generic[P]):
    """The finished scenes of a run, and the callbacks that it reports to."""

    config: P
    done: list[int]
    on_scene: Callable[[int, int], None]
    on_some: Callable[[list[Path]], None]

    def report(self) -> None:
        self.on_scene(len(self.done), self.config.scenes)

    def add(self, index: int, *, last: bool) -> None:
        self.done.append(index)
        self.report()
        if len(self.done) % TABLES_EVERY == 0 and not last:
            self.on_some([self.config.scene_file(each) for each in sorted(self.done)])


def _render_missing(
    progress: _Progress[P], render: Callable[[P, int], None], missing: list[int], interrupts: Interrupts
) -> None:
    """Render scenes in worker processes; after any exception, Ctrl-C included, the workers end before it is raised.

    A signal is held while the pool is handled: during its start, or during a wait, it would leave locks closed and
    threads that cannot be joined.
    """
    config = progress.config
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(config.jobs, len(missing)), mp_context=context) as pool:
        try:
            with interrupts.held(), _inherited_by_workers():
                pending = {pool.submit(render, config, index): index for index in missing}
            while pending:
                with interrupts.held():
                    ready, _ = wait(pending, POLL_S, return_when=FIRST_COMPLETED)
                for future in ready:
                    future.result()
                    index = pending.pop(future)
                    progress.add(index, last=not pending)
        except BrokenProcessPool:
            raise DataError(
                f"a rendering process ended unexpectedly (out of memory?); run the same command again with fewer "
                f"--jobs than {config.jobs}, the finished scenes in {config.out} are kept"
            ) from None
        except BaseException:
            interrupts.only_noted = True  # a further Ctrl-C must not disturb the end
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _remove_temporaries(out: Path) -> None:
    """Remove what a killed worker was writing (`atomic_path` names it with a leading dot)."""
    for folder in (*(f for kind in FOLDERS for f in out.glob(f"{kind}/*")), out / "scenes"):
        for path in folder.glob(".*"):
            path.unlink(missing_ok=True)
