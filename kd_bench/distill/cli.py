"""`kd bench distill` and `kd bench report`."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.distill.arms import PLAN, SUITES
from kd_bench.distill.common_arms import CENTERPOINT, TEACHERS
from kd_bench.distill.ledger import distill_ledger
from kd_bench.distill.report import write_distill_report
from kd_bench.distill.splits import LEAST_BOXES, LEAST_SCENES, PLANS, REPORTED
from kd_bench.distill.suite import Slice, whole
from kd_bench.distill.suite_runs import Given, Planner, Settings
from kd_bench.ledger.command_options import (
    Arms,
    Batch,
    Budget,
    Jobs,
    Ledger,
    Readers,
    Render,
    Seeds,
    Start,
    Threads,
    Together,
    Work,
    end_of,
)
from kd_bench.ledger.pool import RunContext, execute, missing
from kd_bench.ledger.shown_splits import TimeUpError, shown_splits
from kd_bench.ledger.splits import Split
from kd_bench.ledger.starts import demo_student, start_weights
from kd_perception.errors import ConfigError
from kd_perception.named_files import named_files
from kd_perception.resources import resource

LEDGER, REPORT = Path("docs/benchmarks/distillation.jsonl"), Path("docs/benchmarks/distillation.md")
DEFAULTS = Settings()
EVERYTHING = "all"
SUITE_NAMES = tuple(dict.fromkeys(suite.name for suite in SUITES))  # one name may stand for several students


def distill(
    *,
    suite: Annotated[
        str,
        typer.Option(help=f"One of {', '.join(SUITE_NAMES)}; {EVERYTHING}: what decides most comes first."),
    ] = EVERYTHING,
    arm: Arms = None,
    seeds: Seeds = 0,
    start: Start = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help=f"NAME=FILE: weights of {' or '.join(TEACHERS)}. Default: shipped, or trained first."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the splits train, val and tune.")] = Path("out/synthetic"),
    render: Render = True,
    work: Work = Path("out/bench/distillation"),
    ledger: Ledger = LEDGER,
    budget: Budget = 0,
    steps: Annotated[int, typer.Option(min=3, help="Steps of a whole run.")] = DEFAULTS.steps,
    batch: Batch = DEFAULTS.batch,
    rate: Annotated[float, typer.Option(min=0.0, help="Learning rate.")] = DEFAULTS.learning_rate,
    jobs: Jobs = 2,
    threads: Threads = 1,
    readers: Readers = 0,
    together: Together = False,
) -> None:
    """Train students with and without teachers, seed by seed; a ledger grows run by run.

    Several of these commands may share a ledger and a folder of runs: none takes a run that another has taken.
    """
    console = Console()
    torn = distill_ledger(ledger).read().torn
    if torn:
        console.print(f"[yellow]{ledger} ends in the middle of a line; that run will be repeated:[/yellow] {torn[:60]}")
    slices = chosen_slices(suite, arm, seeds)
    settings = replace(DEFAULTS, steps=steps, batch=batch, learning_rate=rate)
    teachers = _shipped_teacher() | weights_by_name(teacher, list(TEACHERS), "--teacher")
    students = {entry.suite.student: demo_student(entry.suite.student) for entry in slices}
    began = time.monotonic()
    deadline = end_of(budget)
    try:
        splits = _splits(data, deadline, console, render=render)
    except TimeUpError:
        console.print("time is up; the same command continues")
        return
    planner = Planner(settings, Given(splits, students, start_weights(start), teachers, work))
    context = RunContext(
        distill_ledger(ledger), jobs, threads, deadline=deadline, report=console.print, readers=readers,
        together=together,
    )  # fmt: skip
    done = execute(lambda records: planner.runs(slices, records), context)
    left = len(missing(lambda records: planner.runs(slices, records), context))
    minutes = (time.monotonic() - began) / 60.0
    state = "complete" if done else f"not complete, {left} planned runs are left; the same command continues"
    console.print(f"{suite}: {state} ({minutes:.0f} minutes); kd bench report writes the tables")


def report(
    *,
    ledger: Annotated[Path, typer.Option(help="JSON lines that kd bench distill wrote.")] = LEDGER,
    out: Annotated[Path, typer.Option(help="Markdown file; the plots go next to it.")] = REPORT,
) -> None:
    """Turn the ledger of kd bench distill into tables and plots."""
    found = distill_ledger(ledger).read()
    console = Console()
    if found.torn:
        console.print(f"[yellow]{ledger} ends in the middle of a line, which is left out[/yellow]")
    for path in write_distill_report(found.records, out):
        console.print(f"wrote [bold]{path}[/bold]")


def _splits(data: Path, deadline: float, console: Console, *, render: bool) -> dict[str, Split]:
    """The splits, described on the terminal; with `render` missing scenes are rendered first. Raises TimeUpError."""
    splits = shown_splits(data, PLANS, console, deadline=deadline, render=render)
    reported = splits[REPORTED]
    boxes = ", ".join(f"{name} {count}" for name, count in reported.boxes.items())
    console.print(f"boxes in {REPORTED}: {boxes}")
    for shortage in reported.shortages(scenes=LEAST_SCENES, boxes=LEAST_BOXES):
        console.print(f"[yellow]{REPORTED} is too small to conclude from:[/yellow] {shortage}")
    return splits


def chosen_slices(suite: str, arms: Sequence[str] | None, seeds: int) -> list[Slice]:
    """What is to be run of a suite or of all, reduced to these arms, if any, and to so many seeds, unless 0.

    Raises ConfigError for an unknown name.
    """
    known = {name: [whole(entry) for entry in SUITES if entry.name == name] for name in SUITE_NAMES}
    known[EVERYTHING] = list(PLAN)
    if suite not in known:
        raise ConfigError(f"suite '{suite}' is unknown; choose one of {', '.join(known)}")
    names = list(dict.fromkeys(arm.name for entry in known[suite] for arm in entry.suite.arms))
    for name in arms or ():
        if name not in names:
            raise ConfigError(f"--arm '{name}' is not in suite {suite}; choose from: {', '.join(names)}")
    return [
        replace(
            entry,
            arms=tuple(name for name in entry.arms if name in (arms or names)),
            seeds=min(entry.seeds, seeds or entry.seeds),
        )
        for entry in known[suite]
    ]


def _shipped_teacher() -> dict[str, Path]:
    return {CENTERPOINT: resource(f"models/{CENTERPOINT}_demo.safetensors")}


def weights_by_name(given: Sequence[str] | None, known: Sequence[str], option: str) -> dict[str, Path]:
    """NAME=FILE options; raises ConfigError for another form, an unknown name or a missing file."""
    found = named_files(given or (), option)
    for name in found:
        if name not in known:
            raise ConfigError(f"{option} names '{name}'; choose from {', '.join(known)}")
    return {name: path.resolve() for name, path in found.items()}
