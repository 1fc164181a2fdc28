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
from kd_bench.distill.runs import Given, Settings, suite_config, suite_runs, teacher_run, tuning_runs
from kd_bench.distill.splits import PLANS, REPORTED, Split, open_splits, render_missing
from kd_perception.errors import ConfigError, DataError
from kd_perception.named_files import named_files
from kd_perception.resources import resource
from kd_training.checkpoints.checkpoint import WEIGHTS_FILE

LEDGER, REPORT = Path("docs/benchmarks/distill.jsonl"), Path("docs/benchmarks/distill.md")
DEFAULTS = Settings()
CONTINUED_RATE = 6e-4


class TimeUpError(Exception):
    """The budget was spent while data was rendered; what is finished is kept."""


def distill(
    suite: Annotated[str, typer.Option(help=f"One of: {', '.join(suite.name for suite in SUITES)}.")] = "main",
    student: Annotated[
        list[str] | None,
        typer.Option(help="bevdet, bevdet4d or bevdepth; repeat for more. Default: the suite's own."),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only these arms, e.g. none and distill/mvp; repeat. Default: all.")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: weights of the teacher centerpoint or mvp; without, the shipped, or trained."),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FILE: weights that every arm of a student begins with; default: models/NAME_demo."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of the splits train, val and tune.")] = Path(
        "out/bench/distill/data"
    ),
    render: Annotated[bool, typer.Option(help="Render what the splits lack, or take them as they are.")] = True,
    work: Annotated[Path, typer.Option(help="Folder of the runs: logs, states, weights, answers.")] = Path(
        "out/bench/distill/runs"
    ),
    ledger: Annotated[Path, typer.Option(help="JSON lines; what is in it is not run again.")] = LEDGER,
    tune: Annotated[
        bool, typer.Option("--tune", help="Every arm once, on the split tune and a seed of its own: to choose arms by.")
    ] = False,
    budget: Annotated[float, typer.Option(min=0.0, help="Minutes after which runs stop, to go on later; 0: none.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of every arm.")] = DEFAULTS.seeds,
    steps: Annotated[int, typer.Option(min=6, help="Steps of every run.")] = DEFAULTS.steps,
    batch: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = DEFAULTS.batch,
    rate: Annotated[
        float, typer.Option(min=0.0, help=f"Learning rate; 0: {DEFAULTS.learning_rate}, continued {CONTINUED_RATE}.")
    ] = 0.0,
    continued: Annotated[
        bool, typer.Option("--continued", help="Go on with the whole trained student, its BEV half not made anew.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; on a GPU 1.")] = 2,
    threads: Annotated[int, typer.Option(min=0, help="Threads of every run; 0 lets PyTorch choose.")] = 1,
) -> None:
    """Train students with and without teachers, seed by seed, into a ledger that grows run by run.

    Several of these may share a ledger and a folder of runs: none begins what another is at.
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
    warmup = min(DEFAULTS.warmup_steps, steps // 2)
    settings = Settings(steps, batch, rate, warmup, DEFAULTS.ema_decay, seeds, continued)
    began = time.monotonic()
    context = RunContext(work, ledger, jobs, threads, began + 60.0 * budget if budget else math.inf, console.print)
    try:
        given = Given(_splits(data, render, context, console), teachers, configs, starts)
        done = _carry_out(chosen, settings, given, context, tune)
    except TimeUpError:
        done = False
    minutes = (time.monotonic() - began) / 60.0
    state = "complete" if done else "not complete: run the same command again to go on"
    console.print(f"suite {chosen.name}: {state} ({minutes:.0f} minutes); kd bench report writes the tables")


def report(
    ledger: Annotated[Path, typer.Option(help="JSON lines that kd bench distill wrote.")] = LEDGER,
    out: Annotated[Path, typer.Option(help="Markdown file; the plots go beside it.")] = REPORT,
) -> None:
    """Turn the ledger of kd bench distill into tables and plots."""
    found = read_ledger(ledger)
    console = Console()
    if found.torn:
        console.print(f"[yellow]{ledger} ends in the middle of a line, which is left out[/yellow]")
    for path in write_distill_report(found.records, out):
        console.print(f"wrote [bold]{path}[/bold]")


def _splits(data: Path, render: bool, context: RunContext, console: Console) -> dict[str, Split]:
    """The data, shown; with `render` what is absent is rendered first. Raises TimeUpError."""

    def on_scene(name: str, done: int, total: int) -> None:
        if not context.time_left:
            raise TimeUpError
        if done < total:
            console.print(f"{name}: {done} of {total} scenes are there")

    if render:
        render_missing(data, PLANS, len(os.sched_getaffinity(0)), on_scene)
    splits = open_splits(data, PLANS)
    for name, split in splits.items():
        console.print(f"{name}: {len(split.scenes)} scenes, {split.keyframes} keyframes ({split.identity})")
    reported = splits[REPORTED]
    boxes = ", ".join(f"{name} {count}" for name, count in reported.boxes.items())
    console.print(f"boxes in {REPORTED}: {boxes}")
    for shortage in reported.shortages():
        console.print(f"[yellow]{REPORTED} is too small to conclude from:[/yellow] {shortage}")
    return splits


def _carry_out(suite: Suite, settings: Settings, given: Given, context: RunContext, tune: bool) -> bool:
    """Train or score the teachers, then the students; False if time was up."""
    wanted = sorted({arm.teacher for arm in suite.arms if arm.teacher})
    runs = {name: teacher_run(name, given.teachers.get(name), _recipe(name), given.splits) for name in wanted}
    if not execute(lambda _: runs.values(), context):
        return False
    weights = {name: given.teachers.get(name) or folder_of(run, context) / WEIGHTS_FILE for name, run in runs.items()}
    for name, path in weights.items():
        if not path.is_file():
            raise ConfigError(f"the ledger knows teacher {name}, but {path} is not there; give --teacher {name}=FILE")
    given = replace(given, teachers=weights)
    if tune:
        return execute(lambda _: tuning_runs(suite, settings, given), context)
    return execute(lambda records: suite_runs(suite, settings, given, records), context)


def chosen_suite(name: str, arms: Sequence[str] | None) -> Suite:
    """The suite, with only the arms of these labels, if any; raises ConfigError for a name or a label that is none."""
    known = {suite.name: suite for suite in SUITES}
    if name not in known:
        raise ConfigError(f"suite '{name}' is unknown; choose one of {', '.join(known)}")
    labels = [arm.label for arm in known[name].arms]
    for label in arms or ():
        if label not in labels:
            raise ConfigError(f"--arm '{label}' is not in suite {name}; choose from: {', '.join(labels)}")
    return replace(known[name], arms=tuple(arm for arm in known[name].arms if arm.label in (arms or labels)))


def _shipped_start(student: str) -> Path:
    """The trained baseline that ships; raises ConfigError where none does."""
    try:
        return resource(f"models/{student}_demo.safetensors")
    except DataError as error:
        raise ConfigError(
            f"no trained {student} ships; train one (kd train config/training/{student}_demo.yaml) and give its "
            f"weights with --start {student}=FILE"
        ) from error


def _shipped_teachers() -> dict[str, Path]:
    """Weights of those that ship; the suite trains others by their recipes."""
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
