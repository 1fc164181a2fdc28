"""`kd bench continual`: renders what is missing, fills the ledger by arms and seeds, and writes the report."""

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
from kd_bench.ledger.command_options import (
    Arms,
    Batch,
    Budget,
    Jobs,
    Ledger,
    Render,
    Seeds,
    Start,
    Threads,
    Work,
    end_of,
)
from kd_bench.ledger.pool import RunContext, execute, missing
from kd_bench.ledger.shown_splits import TimeUpError, shown_splits
from kd_bench.ledger.starts import start_weights
from kd_perception.errors import ConfigError
from kd_perception.resources import SHIPPED_SINGLE_FRAME_STUDENT, resource
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.experiment import load_student_config, student_config

LEDGER, LOOP_REPORT = Path("docs/benchmarks/continual.jsonl"), "continual_loop.md"
TEACHER = "models/centerpoint_demo.safetensors"
KNOWN = str(Path(SHIPPED_SINGLE_FRAME_STUDENT).with_suffix(".safetensors"))
DEFAULTS = LearningSettings()


def continual(
    *,
    sequence: Annotated[
        list[str] | None,
        typer.Option(help=f"Only this one of {', '.join(s.name for s in SEQUENCES)}; repeat for more. Default: all."),
    ] = None,
    arm: Arms = None,
    seeds: Seeds = 0,
    student: Annotated[
        Path | None, typer.Option(help="Weights of the student that knows the first domain. Default: shipped.")
    ] = None,
    start: Start = None,
    teacher: Annotated[Path | None, typer.Option(help="Weights of the LiDAR teacher. Default: shipped.")] = None,
    data: Annotated[Path, typer.Option(help="Folder of the rendered domains.")] = Path("out/continual/data"),
    render: Render = True,
    commands: Annotated[bool, typer.Option("--commands", help="Only print the commands that render.")] = False,
    loop: Annotated[
        bool, typer.Option("--loop", help="Instead: record a night, learn, judge and swap in a running graph.")
    ] = False,
    loop_rate: Annotated[float, typer.Option(min=0.01, help="Speed of replaying in the loop.")] = 0.5,
    report: Annotated[bool, typer.Option("--report", help="Only write the report of the ledger.")] = False,
    work: Work = Path("out/bench/continual"),
    ledger: Ledger = LEDGER,
    budget: Budget = 0,
    steps: Annotated[int, typer.Option(min=3, help="Steps of a first student that is trained.")] = DEFAULTS.steps,
    update_steps: Annotated[int, typer.Option(min=3, help="Steps of an update.")] = DEFAULTS.update_steps,
    batch: Batch = DEFAULTS.batch,
    jobs: Jobs = 2,
    threads: Threads = 1,
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
    deadline = end_of(budget)
    try:
        splits = shown_splits(data, plans, console, deadline=deadline, render=render)
    except TimeUpError:
        console.print("time is up; the same command continues")
        return
    for sentence in shortages(splits):
        console.print(f"[yellow]{sentence}[/yellow]")
    if loop:
        raise typer.Exit(show_shipped_loop(splits, teacher, work / "loop", ledger.with_name(LOOP_REPORT), length))
    settings = replace(DEFAULTS, steps=steps, update_steps=update_steps, batch=batch)
    known = (student or resource(KNOWN)).resolve()
    recipe = student_config(checkpoint_config(known), str(known))
    recipe = replace(recipe, distill=load_student_config(resource(UPDATE_RECIPE)).distill)
    inputs = LearningInputs(recipe.model.name, splits, recipe, known, start_weights(start), teacher, work)
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
