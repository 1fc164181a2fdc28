"""`kd bench distill` and `kd bench report`."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.distill.arms import CENTERPOINT, MVP, SUITES, Suite
from kd_bench.distill.ledger import read_ledger
from kd_bench.distill.report import write_distill_report
from kd_bench.distill.runner import RunContext, execute, folder_of
from kd_bench.distill.splits import PLANS, REPORTED, Split, open_splits, render_missing
from kd_bench.distill.suite_runs import Given, Settings, SuitePlan, suite_config, teacher_run
from kd_perception.errors import ConfigError, DataError
from kd_perception.named_files import named_files
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE

LEDGER, REPORT = Path("docs/benchmarks/distill.jsonl"), Path("docs/benchmarks/distill.md")
DEFAULTS = Settings()
CONTINUED_RATE = 6e-4


class TimeUpError(Exception):
    """The budget ended while data was rendered; finished scenes are kept."""


def distill(
    *,
    suite: Annotated[str, typer.Option(help=f"One of {', '.join(suite.name for suite in SUITES)}.")] = "main",
    student: Annotated[
        list[str] | None,
        typer.Option(help="bevdet, bevdet4d or bevdepth; repeat for more. Default: the suite's own."),
    ] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(help="Only this arm, e.g. none or distill/mvp; repeat for more. Default: all."),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: weights of the teacher centerpoint or mvp. Default: shipped, or trained first."),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: weights that every arm of a student starts from. Default: models/NAME_demo."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the splits train, val and tune.")] = Path(
        "out/bench/distill/data"
    ),
    render: Annotated[bool, typer.Option(help="Render what the splits lack, or take them as they are.")] = True,
    work: Annotated[Path, typer.Option(help="Folder of the runs: logs, states, weights, detections.")] = Path(
        "out/bench/distill/runs"
    ),
    ledger: Annotated[Path, typer.Option(help="JSON lines of finished runs, which are not repeated.")] = LEDGER,
    tune: Annotated[
        bool, typer.Option("--tune", help="Run every arm once on the split tune, with a seed of its own.")
    ] = False,
    budget: Annotated[
        float, typer.Option(min=0.0, help="Minutes after which to stop; the same command continues. 0: no limit.")
    ] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of every arm.")] = DEFAULTS.seeds,
    steps: Annotated[int, typer.Option(min=6, help="Steps of every run.")] = DEFAULTS.steps,
    batch: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = DEFAULTS.batch,
    rate: Annotated[
        float,
        typer.Option(
            min=0.0, help=f"Learning rate; 0 means {DEFAULTS.learning_rate}, or {CONTINUED_RATE} with --continued."
        ),
    ] = 0.0,
    continued: Annotated[
        bool, typer.Option("--continued", help="Continue the whole trained student; keep its BEV half.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; 1 on a GPU.")] = 2,
    threads: Annotated[int, typer.Option(min=0, help="Threads of every run; 0: PyTorch chooses.")] = 1,
) -> None:
    """Train students with and without teachers, seed by seed; a ledger grows run by run.

    Several of these commands may share a ledger and a folder of runs: none takes a run that another has taken.
    """
    console = Console()
    torn = read_ledger(ledger).torn
    if torn:
        console.print(f"[yellow]{ledger} ends in the middle of a line; that run will be repeated:[/yellow] {torn[:60]}")
    chosen = chosen_suite(suite, arm)
    configs = {name: suite_config(name) for name in student or chosen.students}
    given_starts = weights_by_name(start, list(configs), "--start")
    starts = {name: given_starts.get(name) or _shipped_start(name) for name in configs}
    teachers = _shipped_teachers() | weights_by_name(teacher, (CENTERPOINT, MVP), "--teacher")
    rate = rate or (CONTINUED_RATE if continued else DEFAULTS.learning_rate)
    settings = replace(
        DEFAULTS, steps=steps, batch=batch, learning_rate=rate, seeds=seeds, continued=continued,
        warmup_steps=min(DEFAULTS.warmup_steps, steps // 2),
    )  # fmt: skip
    began = time.monotonic()
    deadline = began + 60.0 * budget if budget else math.inf
    context = RunContext(work, ledger, jobs, threads, deadline=deadline, report=console.print)
    try:
        given = Given(_splits(data, context, render=render), teachers, configs, starts)
        done = _carry_out(SuitePlan(chosen, settings, given), context, tune=tune)
    except TimeUpError:
        done = False
    minutes = (time.monotonic() - began) / 60.0
    state = "complete" if done else "not complete; the same command continues"
    console.print(f"suite {chosen.name}: {state} ({minutes:.0f} minutes); kd bench report writes the tables")


def report(
    *,
    ledger: Annotated[Path, typer.Option(help="JSON lines that kd bench distill wrote.")] = LEDGER,
    out: Annotated[Path, typer.Option(help="Markdown file; the plots go next to it.")] = REPORT,
) -> None:
    """Turn the ledger of kd bench distill into tables and plots."""
    found = read_ledger(ledger)
    console = Console()
    if found.torn:
        console.print(f"[yellow]{ledger} ends in the middle of a line, which is left out[/yellow]")
    for path in write_distill_report(found.records, out):
        console.print(f"wrote [bold]{path}[/bold]")


def _splits(data: Path, context: RunContext, *, render: bool) -> dict[str, Split]:
    """The splits, described on the terminal; with `render` missing scenes are rendered first. Raises TimeUpError."""

    def on_scene(name: str, done: int, total: int) -> None:
        if not context.time_left:
            raise TimeUpError
        if done < total:
            context.report(f"{name}: {done} of {total} scenes are rendered")

    if render:
        render_missing(data, PLANS, len(os.sched_getaffinity(0)), on_scene)
    splits = open_splits(data, PLANS)
    for name, split in splits.items():
        context.report(f"{name}: {len(split.scenes)} scenes, {split.keyframes} keyframes ({split.identity})")
    reported = splits[REPORTED]
    boxes = ", ".join(f"{name} {count}" for name, count in reported.boxes.items())
    context.report(f"boxes in {REPORTED}: {boxes}")
    for shortage in reported.shortages():
        context.report(f"[yellow]{REPORTED} is too small to conclude from:[/yellow] {shortage}")
    return splits


def _carry_out(plan: SuitePlan, context: RunContext, *, tune: bool) -> bool:
    """Train or score the teachers, then the students; False if time was up."""
    given = plan.given
    wanted = sorted({arm.teacher for arm in plan.suite.arms if arm.teacher})
    runs = {name: teacher_run(name, given.teachers.get(name), _recipe(name), given.splits) for name in wanted}
    if not execute(lambda _: runs.values(), context):
        return False
    weights = {name: given.teachers.get(name) or folder_of(run, context) / WEIGHTS_FILE for name, run in runs.items()}
    for name, path in weights.items():
        if not path.is_file():
            raise ConfigError(f"the ledger knows teacher {name}, but {path} does not exist; give --teacher {name}=FILE")
    plan = replace(plan, given=replace(given, teachers=weights))
    return execute((lambda _: plan.tuning_runs()) if tune else plan.reported_runs, context)


def chosen_suite(name: str, arms: Sequence[str] | None) -> Suite:
    """The suite, reduced to the arms of these labels, if any; raises ConfigError for an unknown name or label."""
    known = {suite.name: suite for suite in SUITES}
    if name not in known:
        raise ConfigError(f"suite '{name}' is unknown; choose one of {', '.join(known)}")
    labels = [arm.label for arm in known[name].arms]
    for label in arms or ():
        if label not in labels:
            raise ConfigError(f"--arm '{label}' is not in suite {name}; choose from: {', '.join(labels)}")
    return replace(known[name], arms=tuple(arm for arm in known[name].arms if arm.label in (arms or labels)))


def _shipped_start(student: str) -> Path:
    """The shipped trained baseline; raises ConfigError where none ships."""
    try:
        return resource(f"models/{student}_demo.safetensors")
    except DataError as error:
        raise ConfigError(
            f"no trained {student} ships; train one (kd train config/training/{student}_demo.yaml) and give its "
            f"weights with --start {student}=FILE"
        ) from error


def _shipped_teachers() -> dict[str, Path]:
    """Weights of the teachers that ship; the suite trains the others by their recipes."""
    found = {}
    for name in (CENTERPOINT, MVP):
        try:
            found[name] = resource(f"models/{name}_demo.safetensors")
        except DataError:
            continue
    return found


def _recipe(teacher: str) -> str:
    """The shipped configuration that trains a teacher."""
    return f"config/teacher/{teacher}_demo.yaml"


def weights_by_name(given: Sequence[str] | None, known: Sequence[str], option: str) -> dict[str, Path]:
    """NAME=FILE options; raises ConfigError for another form, an unknown name or a missing file."""
    found = named_files(given or (), option)
    for name in found:
        if name not in known:
            raise ConfigError(f"{option} names '{name}'; choose from {', '.join(known)}")
    return {name: path.resolve() for name, path in found.items()}
