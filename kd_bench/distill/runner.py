"""Runs what the ledger lacks, several runs at a time, each in its own process, until all is done or time is up."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kd_bench.distill.ledger import Record, append, read_ledger
from kd_bench.distill.suite_runs import Run
from kd_bench.distill.worker import HELD, INTERRUPTED, TRAINED_FILE, Order, score_file, training_seconds, write_order
from kd_bench.tables import command_line, device
from kd_perception.commit import code_commit
from kd_perception.errors import KdError
from kd_perception.interrupts import Interrupts, handled_interrupts
from kd_training.config.experiment import to_yaml

POLL_S = 0.5
Planned = Callable[[tuple[Record, ...]], Iterable[Run]]
LOG_FILE = "log.txt"


class RunError(KdError):
    """A run failed; the sentence names the run and its log."""


@dataclass(frozen=True)
class RunContext:
    """Where and how runs happen.

    folder_of: where a run is carried out; ledger: the file of records; jobs: runs at a time; threads: of each run (0:
    PyTorch chooses); deadline: the time.monotonic() to stop at; report: receives sentences about the progress.
    """

    folder_of: Callable[[Run], Path]
    ledger: Path
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

    run: Run
    folder: Path
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
) -> list[Run] | None:
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


def missing(planned: Planned, context: RunContext) -> list[Run]:
    """Planned runs that the ledger lacks, and teachers that it knows but whose weights are lost: others need them."""
    records = read_ledger(context.ledger).records
    known = {record.key for record in records}
    return [
        run
        for run in planned(records)
        if run.key not in known or (run.makes_teacher and not (context.folder_of(run) / TRAINED_FILE).is_file())
    ]


def _start(run: Run, context: RunContext) -> Running:
    folder = context.folder_of(run)
    folder.mkdir(parents=True, exist_ok=True)
    config = "" if run.config is None else to_yaml(run.config)
    weights = "" if run.weights is None else str(run.weights)
    source = run.source
    write_order(folder, Order(config, weights, run.split, source.root, source.version, context.threads))
    context.report(f"[bold]{run.name}[/bold] starts or continues ({run.steps} steps; log: {folder / LOG_FILE})")
    threads = {"OMP_NUM_THREADS": str(context.threads)} if context.threads else {}
    with open(folder / LOG_FILE, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kd_bench.distill.worker", str(folder)],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **threads},
            start_new_session=True,  # Ctrl-C is for this process, which stops its workers in order
        )  # fmt: skip
    return Running(run, folder, process)


def _take_in(entry: Running, context: RunContext, undone: Undone) -> None:
    """Collect what an ended process leaves: records, a failure, or the status that another process has the run."""
    run, status = entry.run, entry.process.returncode
    if status == 0:
        found = _record(entry)
        append(context.ledger, [found])
        context.report(
            f"[bold]{run.name}[/bold]: mAP {found.mAP:.4f}, NDS {found.NDS:.4f} on {run.split}, {found.seconds:.0f} s"
        )
    elif status == HELD:
        undone.elsewhere.add(run.digest)
        context.report(f"{run.name}: another process has taken it")
    elif status not in (INTERRUPTED, -signal.SIGTERM):
        log = entry.folder / LOG_FILE
        lines = log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        undone.failed[run.digest] = (
            f"run {run.name} failed ({log} ends with: {lines[-1]}); fix the cause and run the suite again"
        )
        context.report(undone.failed[run.digest])


def _record(entry: Running) -> Record:
    """What an ended run tells the ledger."""
    run = entry.run
    return Record(
        suite=run.suite, student=run.student, teacher=run.teacher, arm=run.arm, seed=run.seed, split=run.split,
        steps=run.steps, batch=run.batch, seconds=training_seconds(entry.folder), device=device(),
        command=command_line(), commit=code_commit(), start=run.start, protocol=run.protocol, key=run.key,
        **json.loads(score_file(entry.folder, run.split).read_text()),
    )  # fmt: skip


def _stop(running: list[Running], context: RunContext, undone: Undone) -> None:
    """Let every process save its state and end."""
    for entry in running:
        entry.process.terminate()
    for entry in running:
        entry.process.wait()
        _take_in(entry, context, undone)
