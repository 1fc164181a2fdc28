"""`kd bench continual`: renders what is missing, fills the ledger by arms and seeds, and writes the report."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.continual.arms import ARMS, UPDATE_RECIPE, Lesson, whole_plan
from kd_bench.continual.comparison import main_results
from kd_bench.continual.domains import SEQUENCES, plans_of, shortages, synth_commands
from kd_bench.continual.planner import LearningInputs, LearningPlanner, LearningSettings
from kd_bench.continual.records import continual_ledger
from kd_bench.continual.report import write_continual_report
from kd_bench.ledger.pool import RunContext, execute, missing
from kd_bench.ledger.splits import Split, SplitPlan, open_splits, render_missing
from kd_bench.ledger.starts import demo_student, start_weights
from kd_perception.errors import ConfigError
from kd_perception.resources import resource
from kd_training.config.experiment import load_student_config

LEDGER, LOOP_REPORT = Path("docs/benchmarks/continual.jsonl"), "continual_loop.md"
TEACHER = "models/centerpoint_demo.safetensors"
DEFAULTS = LearningSettings()


class RenderingStoppedError(Exception):
    """The budget ended while data was rendered; finished scenes are kept."""


def continual(
    *,
    sequence: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this one of {', '.join(s.name for s in SEQUENCES)}; repeat for more. Default: all."),
    ] = None,
    arm: Annotated[
        list[str] | None, typer.Option(help="Only this arm, e.g. ours; repeat for more. Default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=0, help="At most so many seeds of an arm; 0: all.")] = 0,
    student: Annotated[str, typer.Option(help="Student: bevdet, or bevdet4d with memory.")] = "bevdet",
    start: Annotated[
        Path | None, typer.Option(help="Weights of depth alone that first students begin with. Default: shipped.")
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="Weights of the LiDAR teacher. Default: shipped.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the rendered domains.")] = Path("out/continual/data"),
    render: Annotated[bool, typer.Option(help="Render what is missing, or take the domains as they are.")] = True,
    commands: Annotated[bool, typer.Option("--commands", help="Only print the commands that render.")] = False,
    loop: Annotated[
        bool, typer.Option("--loop", help="Instead: record a night, learn, judge and swap in a running graph.")
    ] = False,
    loop_rate: Annotated[float, typer.Option(min=0.01, help="Speed of replaying in the loop.")] = 0.5,
    report: Annotated[bool, typer.Option("--report", help="Only write the report of the ledger.")] = False,
    work: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("out/bench/continual"),
    ledger: Annotated[Path, typer.Option(help="JSON lines of finished runs; the report goes next to it.")] = LEDGER,
    budget: Annotated[
        float, typer.Option(min=0.0, help="Minutes after which to stop; the same command continues. 0: no limit.")
    ] = 0,
    steps: Annotated[int, typer.Option(min=3, help="Steps of a first student.")] = DEFAULTS.steps,
    update_steps: Annotated[int, typer.Option(min=3, help="Steps of an update.")] = DEFAULTS.update_steps,
    batch: Annotated[int, typer.Option(min=1, help="Samples of a step.")] = DEFAULTS.batch,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time; 1 on a GPU.")] = 2,
    threads: Annotated[int, typer.Option(min=0, help="Threads of every run; 0: PyTorch chooses.")] = 1,
) -> None:
    """Let students learn domain after domain, by several arms; a ledger grows run by run.

    Several of these commands may share a ledger and a folder of runs: none takes a run that another has taken.
    """
    console = Console()
    if commands:
        console.print("\n".join(synth_commands(data, jobs)), soft_wrap=True)
        return
    if report:
        _report(ledger, console)
        return
    teacher = (teacher or resource(TEACHER)).resolve()
    lessons = chosen_lessons(sequence, arm, seeds)
    plans = plans_of([world for lesson in lessons for world in lesson.sequence.worlds])
    if loop:
        from kd_bench.continual.loop_command import LoopLength, loop_plans, show_shipped_loop  # only here: it needs ROS

        length = LoopLength(rate=loop_rate, steps=update_steps)
        plans = loop_plans(length)
    deadline = time.monotonic() + 60.0 * budget if budget else math.inf
    try:
        splits = _splits(data, plans, deadline if render else None, console)
    except RenderingStoppedError:
        console.print("time is up; the same command continues")
        return
    if loop:
        raise typer.Exit(show_shipped_loop(splits, teacher, work / "loop", ledger.with_name(LOOP_REPORT), length))
    settings = replace(DEFAULTS, steps=steps, update_steps=update_steps, batch=batch)
    recipe = replace(demo_student(student), distill=load_student_config(resource(UPDATE_RECIPE)).distill)
    inputs = LearningInputs(student, splits, recipe, start_weights(start), teacher, work)
    planner = LearningPlanner(settings, inputs)
    context = RunContext(continual_ledger(ledger), jobs, threads, deadline=deadline, report=console.print)
    done = execute(lambda records: planner.runs(lessons, records), context)
    left = len(missing(lambda records: planner.runs(lessons, records), context))
    console.print("complete" if done else f"not complete, {left} runs could go on; the same command continues")
    if main_results(context.ledger.read().records):
        _report(ledger, console)


def _report(ledger: Path, console: Console) -> None:
    for path in write_continual_report(continual_ledger(ledger).read().records, ledger.with_suffix(".md")):
        console.print(f"wrote [bold]{path}[/bold]")


def chosen_lessons(sequences: Sequence[str] | None, arms: Sequence[str] | None, seeds: int) -> list[Lesson]:
    """The plan's lessons of some sequences, arms and seeds; raises ConfigError for a name that none has."""
    known = [arm.name for listed in ARMS.values() for arm in listed]
    for option, given, names in (("--sequence", sequences, list(ARMS)), ("--arm", arms, known)):
        for name in given or ():
            if name not in names:
                raise ConfigError(f"{option} '{name}' is unknown; choose from: {', '.join(dict.fromkeys(names))}")
    return [
        lesson
        for lesson in whole_plan()
        if lesson.sequence.name in (sequences or ARMS)
        and lesson.arm.name in (arms or [lesson.arm.name])
        and (not seeds or lesson.seed < seeds)
    ]


def _splits(data: Path, plans: dict[str, SplitPlan], deadline: float | None, console: Console) -> dict[str, Split]:
    """The sets, described on the terminal; with a deadline missing scenes are rendered first."""

    def on_scene(name: str, done: int, total: int) -> None:
        if deadline is not None and time.monotonic() >= deadline:
            raise RenderingStoppedError
        if done < total:
            console.print(f"{name}: {done} of {total} scenes are rendered")

    if deadline is not None:
        render_missing(data, plans, len(os.sched_getaffinity(0)), on_scene)
    splits = open_splits(data, plans)
    for name, split in splits.items():
        console.print(f"{name}: {len(split.scenes)} scenes, {split.keyframes} keyframes ({split.identity})")
    for sentence in shortages(splits):
        console.print(f"[yellow]{sentence}[/yellow]")
    return splits
