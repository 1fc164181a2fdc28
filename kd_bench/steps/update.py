"""`kd bench update`: what a training step of an update costs, and what of it is the teacher's and the old student's."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from kd_bench.options import ReportFile
from kd_bench.steps.command import HEADINGS, PARTS_METHOD, PLAIN, Course, course_of, measure, rows_of, shown_parts
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.errors import ConfigError
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.continual import ContinualConfig
from kd_training.config.experiment import TrainConfig
from kd_training.loop.malloc import tune_malloc

UPDATE, UNTAUGHT, FORGETTING = "update", "without the LiDAR teacher", "without the old student"
WARM = 2  # steps that do not count
METHOD = """All train in turns, step by step, in one process of one thread. *Plain* is the update's own configuration
without teacher, old student and buffer: the labels of the new domain alone. The ratio is of processor time, which other
programs disturb least."""


def update(
    *,
    weights: Annotated[Path, typer.Option(help="Weights that an update has left; its data and buffer must be there.")],
    count: Annotated[int, typer.Option(min=1, help="Steps of each kind to measure.")] = 16,
    report: ReportFile = None,
) -> None:
    """Time a training step of an update next to a plain one."""
    torch.set_num_threads(1)
    tune_malloc()
    courses = begin_update(weights)
    measure(courses, WARM, count)
    rows = rows_of(courses)
    console = Console()
    console.print(terminal_table("a step of an update", HEADINGS, rows))
    parts = shown_parts(courses, (PLAIN, UPDATE), console)
    if report is not None:
        config = courses[UPDATE].task.config
        facts = {
            "student": f"{config.model.name}, which learns {config.continual.domain}",
            "steps": f"{count} each, of {config.schedule.batch} samples, {config.continual.replay.share:.0%} replayed",
        }
        body = "\n\n".join([markdown_table(HEADINGS, rows), METHOD, *parts, PARTS_METHOD])
        write_report(report, "A training step of an update, and its parts", facts, body)


def begin_update(weights: Path) -> dict[str, Course]:
    """The courses of an update's configuration, by name; raises ConfigError where the weights are of another training,
    DataError where its files are gone."""
    config = checkpoint_config(weights)
    if not isinstance(config, TrainConfig) or not config.continual.student:
        raise ConfigError(f"{weights} are of no update; give the weights.safetensors that kd continual update leaves")
    untaught = replace(config, distill=replace(config.distill, teacher=""))
    keep = replace(config.continual.keep, weight=0.0)
    wanted = {
        PLAIN: replace(untaught, continual=ContinualConfig()),
        UPDATE: config,
        UNTAUGHT: untaught,
        FORGETTING: replace(config, continual=replace(config.continual, keep=keep)),
    }
    return {name: course_of(each) for name, each in wanted.items()}
