"""`kd bench steps`: what a training step costs, plain, with a teacher, with predictions kept; and its parts."""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from torch import nn
from torch.optim import Optimizer

from kd_bench.options import DatasetFolder, ReportFile, TablesVersion, TeacherWeights
from kd_bench.steps.parts import PARTS_HEADINGS, PartTimes
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_training.batches.processes import ALONE
from kd_training.batches.run_plan import RunPlan
from kd_training.config.experiment import TrainConfig, load_student_config
from kd_training.config.sections import DataRoot
from kd_training.data.frames import open_dataset
from kd_training.loop.malloc import tune_malloc
from kd_training.loop.optimiser import build_optimizer, clip_gradients
from kd_training.tasks import build_task
from kd_training.tasks.task import MicroStep, Task

HEADINGS = ("step", "processor s", "wall s", "of the plain step")
PLAIN, TAUGHT, KEPT = "plain", "with the teacher", "with the teacher's predictions kept"
CACHE_BYTES = 4_000_000_000
METHOD = """The three train in turns, step by step, in one process of one thread, on the same keyframes. A step is
reading, forward, backward, clipping and optimiser. The ratio is of processor time, which other programs disturb least.
The figures are means over whole periods of the blending's looks at the gradients (every `distill.blending.refresh`
steps). BEV augmentation is off, so that predictions repeat; every keyframe is seen once before the measurement, so that
all predictions are kept."""
PARTS_METHOD = """Milliseconds are of processor time, on a GPU of wall time. *Tables* are the view transform's. They are
made while a sample is read, as the teacher runs within the forward pass; each counts once. *Blending* is the looks at
the gradients, spread over all steps. *Optimiser* includes clipping."""


@dataclass
class Course:
    """One task in training, and its times so far: seconds of processor and of wall clock for each step, and of the
    parts of all steps."""

    fabric: Fabric
    task: Task
    wrapped: nn.Module
    optimizer: Optimizer
    batches: Iterator[object]
    seconds: list[tuple[float, float]] = field(default_factory=list)
    parts: PartTimes = field(default_factory=PartTimes)

    def step(self, step: int) -> None:
        """Train one step and keep its times."""
        processor, wall, parts, task = time.process_time(), time.perf_counter(), self.parts, self.task
        now = MicroStep(step, 0, ALONE)
        with parts.within(task):
            with parts.timed("reading"):
                batch = next(self.batches).to(self.fabric.device)
            with parts.timed("forward"):
                losses = self.wrapped(batch, now)
        with parts.timed("blending"):
            total = task.total(losses, now)
        with parts.timed("backward"):
            self.fabric.backward(total)
        with parts.timed("optimiser"):
            clip_gradients(task.model, task.adapters, task.config.schedule.clip_norm)
            self.optimizer.step()
            self.optimizer.zero_grad()
        parts.steps += 1
        self.seconds.append((time.process_time() - processor, time.perf_counter() - wall))

    def forget(self) -> None:
        """Drop the times so far."""
        self.seconds, self.parts = [], PartTimes()


def steps(
    *,
    teacher: TeacherWeights,
    dataroot: DatasetFolder,
    config: Annotated[Path, typer.Option(help="The student's configuration.")] = Path(
        "config/training/bevdet_demo.yaml"
    ),
    version: TablesVersion = SYNTHETIC_VERSION,
    scene: Annotated[str, typer.Option(help="Scene whose keyframes are trained on; default: the first.")] = "",
    count: Annotated[int, typer.Option(min=1, help="Steps of each kind to measure.")] = 40,
    batch: Annotated[int, typer.Option(min=0, help="Samples of a step; 0: as the configuration says.")] = 0,
    report: ReportFile = None,
) -> None:
    """Time a training step with a teacher next to a plain one."""
    torch.set_num_threads(1)
    tune_malloc()
    source = DataRoot(root=str(dataroot), version=version)
    source.scenes = [scene or open_dataset(source).scenes[0]]
    student = load_student_config(config)
    student.schedule.batch = batch or student.schedule.batch
    courses = begin(student, teacher, source)
    warm = -(-len(courses[PLAIN].task.frames) // courses[PLAIN].task.config.schedule.batch)
    measure(courses, warm, count)
    rows = rows_of(courses)
    console = Console()
    console.print(terminal_table(f"{config.stem}, a training step", HEADINGS, rows))
    parts = shown_parts(courses, (PLAIN, TAUGHT), console)
    if report is not None:
        facts = {
            "student": config.stem,
            "teacher": courses[TAUGHT].task.lidar_lesson.teacher.model.config.name,
            "steps": f"{count} each, of {courses[PLAIN].task.config.schedule.batch} samples",
            "terms": ", ".join(courses[TAUGHT].task.term_names),
        }
        body = "\n\n".join([markdown_table(HEADINGS, rows), METHOD, *parts, PARTS_METHOD])
        write_report(report, "A training step, and its parts", facts, body)


def begin(config: TrainConfig, teacher: Path, source: DataRoot) -> dict[str, Course]:
    """The three courses of a student's configuration, by name."""
    augment = replace(config.data.augment, mirror=False, bev_rotation=0.0)
    data = replace(config.data, roots=[source], validation=[], balance_classes=False, augment=augment)
    plain = replace(config, data=data, distill=replace(config.distill, teacher=""))
    taught = replace(plain, distill=replace(config.distill, teacher=str(teacher), cache_bytes=0))
    kept = replace(taught, distill=replace(taught.distill, cache_bytes=CACHE_BYTES))
    return {name: course_of(each) for name, each in {PLAIN: plain, TAUGHT: taught, KEPT: kept}.items()}


def course_of(config: TrainConfig) -> Course:
    """A training of a configuration, at its first step."""
    fabric = Fabric(accelerator="auto", devices=1, precision=config.schedule.precision)
    fabric.seed_everything(config.schedule.seed, verbose=False)
    task = build_task(config)
    task.begin(None)
    optimizer = build_optimizer(task.model, task.adapters, task.learning_rate_multipliers, config.schedule)
    wrapped, optimizer = fabric.setup(task, optimizer)
    wrapped.train()
    batches = task.batches(RunPlan(steps=1))
    return Course(fabric, task, wrapped, optimizer, map(batches.__getitem__, itertools.count()))


def measure(courses: Mapping[str, Course], warm: int, count: int) -> None:
    """Train in turns: `warm` steps each that do not count, then `count` steps whose times are kept."""
    for step in range(warm + count):
        for course in courses.values():
            if 0 < step == warm:
                course.forget()
            course.step(step)


def shown_parts(courses: Mapping[str, Course], names: Iterable[str], console: Console) -> list[str]:
    """Print the parts of these courses' steps; the same as sections in Markdown."""
    sections = []
    for name in names:
        lines = courses[name].parts.rows()
        console.print(terminal_table(f"parts of a step, {name}", PARTS_HEADINGS, lines))
        sections.append(f"## Parts, {name}\n\n{markdown_table(PARTS_HEADINGS, lines)}")
    return sections


def rows_of(courses: Mapping[str, Course]) -> list[tuple[str, ...]]:
    """Lines of the table, as HEADINGS names them; on a GPU the ratio is of wall time."""
    counted = 1 if torch.cuda.is_available() else 0
    means = {name: np.mean(course.seconds, axis=0) for name, course in courses.items()}
    return [
        (name, f"{mean[0]:.2f}", f"{mean[1]:.2f}", f"{mean[counted] / means[PLAIN][counted]:.2f} x")
        for name, mean in means.items()
    ]
