"""Runs what a ledger lacks, several runs at a time, each in its own process, until all is done or time is up."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from kd_bench.ledger.records import Keyed, LedgerFile
from kd_bench.ledger.worker import HELD, INTERRUPTED, TRAINED_FILE, Order, write_order
from kd_perception.errors import KdError
from kd_perception.interrupts import Interrupts, handled_interrupts

POLL_S = 0.5
LOG_FILE = "log.txt"


class PooledRun(Protocol):
    """What the pool knows of a run.

    `key` names its line in the ledger, `digest` its training, `name` is for the screen. `folder`: where it is carried
    out, by the module `worker`. `needed`: whether other runs need its weights, so that lost ones are made again.
    """

    key: str
    digest: str
    name: str
    steps: int
    folder: Path
    worker: str
    needed: bool

    def order(self, threads: int) -> Order:
        """What a worker is to do for it."""

    def record(self) -> Keyed:
        """What the finished run tells the ledger, read from its folder."""

    def outcome(self) -> str:
        """The finished run's result in a few words."""


Planned = Callable[[tuple[Any, ...]], Iterable[PooledRun]]


class RunError(KdError):
    """A run failed; the sentence names the run and its log."""


@dataclass(frozen=True)
class RunContext:
    """Where and how runs happen.

    ledger: the file of records; jobs: runs at a time; threads: of each run (0: PyTorch chooses); deadline: the
    time.monotonic() to stop at; report: receives sentences about the progress.
    """

    ledger: LedgerFile
    jobs: int
    threads: int
    deadline: float
    report: Callable[[str], None]

    @property
    def time_left(self) -> bool:
        """Whether runs may still be started."""
        return time.monotonic() < self.deadline


@dataclass(frozen=True)
class Running:
    """A run and its process."""

    run: PooledRun
    process: subprocess.Popen


@dataclass(frozen=True)
class Undone:
    """Digests of runs that are not started again.

    failed: a sentence for each run that failed; elsewhere: runs that another process has taken.
    """

    failed: dict[str, str]
    elsewhere: set[str]


def execute(planned: Planned, context: RunContext) -> bool:
    """Carry out the runs of `planned(records)` that the ledger lacks, in order; it is called again after every run.

    Returns True when nothing is left. Returns False when time is up: running processes are stopped, and the next call
    continues them. Returns False also when only runs are left that another process has taken. Raises RunError, after
    the others, if a run failed.
    """
    running: list[Running] = []
    undone = Undone({}, set())
    with handled_interrupts() as interrupts:
        try:
            lacking = _carry_out(planned, context, running, undone, interrupts)
        finally:
            interrupts.only_noted = True  # a further signal must not disturb the workers' end
            _stop(running, context, undone)
    if lacking is None:
        return False
    if undone.failed:
        raise RunError("; ".join(undone.failed.values()))
    return not undone.elsewhere & {run.digest for run in lacking}


def _carry_out(
    planned: Planned,
    context: RunContext,
    running: list[Running],
    undone: Undone,
    interrupts: Interrupts,
) -> list[PooledRun] | None:
    """Start runs until none is left that could be; returns those that the ledger lacks, or None when time is up."""
    lacking = missing(planned, context)
    while True:
        ended = [entry for entry in running if entry.process.poll() is not None]
        for entry in ended:
            running.remove(entry)
            _take_in(entry, context, undone)
        if ended:  # planning reads every file that a run depends on: not at every poll
            lacking = missing(planned, context)
        if not context.time_left:
            return None
        busy = {entry.run.digest for entry in running} | set(undone.failed) | undone.elsewhere
        waiting = [run for run in lacking if run.digest not in busy]
        while waiting and len(running) < context.jobs:
            run = waiting.pop(0)
            with interrupts.held():  # a process that is started but not yet listed would be orphaned
                running.append(_start(run, context))
            waiting = [other for other in waiting if other.digest != run.digest]
        if not running:
            return lacking
        time.sleep(POLL_S)


def missing(planned: Planned, context: RunContext) -> list[PooledRun]:
    """Planned runs that the ledger lacks, and those that it knows but whose weights are lost and needed."""
    records = context.ledger.read().records
    known = {record.key for record in records}
    return [
        run
        for run in planned(records)
        if run.key not in known or (run.needed and not (run.folder / TRAINED_FILE).is_file())
    ]


def _start(run: PooledRun, context: RunContext) -> Running:
    run.folder.mkdir(parents=True, exist_ok=True)
    write_order(run.folder, run.order(context.threads))
    context.report(f"[bold]{run.name}[/bold] starts or continues ({run.steps} steps; log: {run.folder / LOG_FILE})")
    threads = {"OMP_NUM_THREADS": str(context.threads)} if context.threads else {}
    with open(run.folder / LOG_FILE, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", run.worker, str(run.folder)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **threads},
            start_new_session=True,  # Ctrl-C is for this process, which stops its workers in order
        )  # fmt: skip
    return Running(run, process)


def _take_in(entry: Running, context: RunContext, undone: Undone) -> None:
    """Collect what an ended process leaves: records, a failure, or the status that another process has the run."""
    run, status = entry.run, entry.process.returncode
    if status == 0:
        context.ledger.append([run.record()])
        context.report(f"[bold]{run.name}[/bold]: {run.outcome()}")
    elif status == HELD:
        undone.elsewhere.add(run.digest)
        context.report(f"{run.name}: another process has taken it")
    elif status not in (INTERRUPTED, -signal.SIGTERM):
        log = run.folder / LOG_FILE
        lines = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        undone.failed[run.digest] = (
            f"run {run.name} failed ({log} ends with: {lines[-1]}); fix the cause and run the same command again"
        )
        context.report(undone.failed[run.digest])


def _stop(running: list[Running], context: RunContext, undone: Undone) -> None:
    """Let every process save its state and end."""
    for entry in running:
        entry.process.terminate()
    for entry in running:
        entry.process.wait()
        _take_in(entry, context, undone)
