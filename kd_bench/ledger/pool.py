"""Runs what a ledger lacks, several at a time, until all is done or time is up: each in its own process, or those that
take the same batches together in one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from kd_bench.ledger.records import Keyed, LedgerFile
from kd_bench.ledger.worker import HELD, INTERRUPTED, TRAINED_FILE, Order, write_order
from kd_perception.errors import KdError
from kd_perception.interrupts import Interrupts, handled_interrupts

POLL_S = 0.5
LOG_FILE = "log.txt"
TOGETHER = "kd_bench.ledger.together"  # the worker of several runs


class PooledRun(Protocol):
    """What the pool knows of a run.

    `key` names its line in the ledger, `digest` its training, `name` is for the screen. `folder`: where it is carried
    out, by the module `worker`. `needed`: whether other runs need its weights, so that lost ones are made again.
    `batches`: equal for runs that take the same; empty for those that share them with no other.
    """

    key: str
    digest: str
    name: str
    steps: int
    folder: Path
    worker: str
    needed: bool
    batches: str

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

    ledger: the file of records; jobs: processes at a time; threads: of each (0: PyTorch chooses); deadline: the
    time.monotonic() to stop at; report: receives sentences about the progress; readers: further processes of each, that
    read its batches; together: whether runs that take the same batches are trained in one process.
    """

    ledger: LedgerFile
    jobs: int
    threads: int
    deadline: float
    report: Callable[[str], None]
    readers: int = 0
    together: bool = False

    @property
    def time_left(self) -> bool:
        """Whether runs may still be started."""
        return time.monotonic() < self.deadline


@dataclass(frozen=True)
class Running:
    """A process and its runs; one of several runs trains them without scoring."""

    runs: tuple[PooledRun, ...]
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
        busy = {run.digest for entry in running for run in entry.runs} | set(undone.failed) | undone.elsewhere
        waiting = [run for run in lacking if run.digest not in busy]
        while waiting and len(running) < context.jobs:
            runs = _next(waiting, context)
            with interrupts.held():  # a process that is started but not yet listed would be orphaned
                running.append(_start(runs, context))
            taken = {run.digest for run in runs}
            waiting = [other for other in waiting if other.digest not in taken]
        if not running:
            return lacking
        time.sleep(POLL_S)


def missing(planned: Planned, context: RunContext) -> list[PooledRun]:
    """Planned runs that the ledger lacks, and those that it knows but whose weights are lost and needed."""
    records = context.ledger.read().records
    known = {record.key for record in records}
    return [run for run in planned(records) if run.key not in known or (run.needed and not _is_trained(run))]


def _next(waiting: Sequence[PooledRun], context: RunContext) -> tuple[PooledRun, ...]:
    """The first of the waiting runs, with those that train together with it."""
    first = waiting[0]
    if not (context.together and first.batches) or _is_trained(first):
        return (first,)
    companions = {run.digest: run for run in waiting if run.batches == first.batches and not _is_trained(run)}
    return tuple(companions.values())


def _is_trained(run: PooledRun) -> bool:
    return (run.folder / TRAINED_FILE).is_file()


def _start(runs: tuple[PooledRun, ...], context: RunContext) -> Running:
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        write_order(run.folder, replace(run.order(context.threads), readers=context.readers))
        log = runs[0].folder / LOG_FILE
        context.report(f"[bold]{run.name}[/bold] starts or continues ({run.steps} steps; log: {log})")
    worker = runs[0].worker if len(runs) == 1 else TOGETHER
    threads = {"OMP_NUM_THREADS": str(context.threads)} if context.threads else {}
    with open(log, "ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", worker, *(str(run.folder) for run in runs)],
            stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **threads},
            start_new_session=True,  # Ctrl-C is for this process, which stops its workers in order
        )  # fmt: skip
    return Running(runs, process)


def _take_in(entry: Running, context: RunContext, undone: Undone) -> None:
    """Collect what an ended process leaves: records, a failure, or the status that another process has the runs."""
    runs, status = entry.runs, entry.process.returncode
    if status == 0 and len(runs) > 1:
        context.report(f"[bold]{', '.join(run.name for run in runs)}[/bold]: trained, scores follow")
    elif status == 0:
        context.ledger.append([runs[0].record()])
        context.report(f"[bold]{runs[0].name}[/bold]: {runs[0].outcome()}")
    elif status == HELD:
        undone.elsewhere.update(run.digest for run in runs)
        context.report(f"{', '.join(run.name for run in runs)}: another process has taken it")
    elif status not in (INTERRUPTED, -signal.SIGTERM):
        log = runs[0].folder / LOG_FILE
        lines = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        for run in runs:
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
