"""`kd bench transfer`: how much of a teacher's features a linear map finds in a student's.

The map is fitted on some batches and judged on others: it is the best that a 1x1 adapter can do. To imitate what it
leaves unexplained, the student would have to see more. A map that fits better one cell off shows that the two rasters
are not aligned.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer
from lightning_fabric import Fabric
from rich.console import Console
from torch import Tensor

from kd_bench.options import DatasetFolder, ReportFile, TablesVersion, TeacherWeights
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_training.batches.detector_outputs import DetectorOutputs
from kd_training.batches.run_plan import RunPlan
from kd_training.checkpoints.checkpoint import checkpoint_config
from kd_training.config.cross_scale import CrossScaleConfig
from kd_training.config.distill import LayerPair
from kd_training.config.experiment import student_config
from kd_training.config.sections import DataRoot
from kd_training.distill.adapters import PRE_HEAD, resized
from kd_training.distill.terms.regions import box_footprints
from kd_training.tasks.distilled import DistillTask

HEADINGS = ("from the student's", "to the teacher's", "in boxes", "one cell off", "anywhere")
FITTED_SHARE = 0.75  # of the batches; the rest judges
ANYWHERE_SHARE = 0.02  # of all cells
RIDGE = 1e-2  # in variances of the inputs
SHIFTS = ((0, 1), (0, -1), (1, 0), (-1, 0))  # cells along columns and rows
METHOD = """Share of the variance that stays unexplained, on batches that the map was not fitted on: 0 is all known, 1
is nothing beyond the mean. *In boxes* and *anywhere* (one cell in fifty) are maps of their own. *One cell off* is the
best of four maps in boxes after moving the teacher's raster by one cell. If it were clearly better, the two rasters
would not be aligned; features are smooth, so it may be as good."""


class Cells(NamedTuple):
    """Features of chosen cells of one batch: of the student (cells, C), and of the teacher (cells, C')."""

    student: Tensor
    teacher: Tensor


class CellSample(NamedTuple):
    """One batch of one pair of rasters.

    boxes: cells in boxes; moved: the same with the teacher's raster moved by each of SHIFTS; anywhere: drawn cells.
    """

    boxes: Cells
    moved: tuple[Cells, ...]
    anywhere: Cells


def transfer(
    *,
    student: Annotated[Path, typer.Option(help="Weights of a student, as kd train writes them.")],
    teacher: TeacherWeights,
    dataroot: DatasetFolder,
    version: TablesVersion = SYNTHETIC_VERSION,
    batches: Annotated[int, typer.Option(min=2, help="Batches to fit on and to judge on.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of the batches.")] = 0,
    report: ReportFile = None,
) -> None:
    """Measure how much of a teacher's features and predictions a linear map finds in a student's features."""
    task = open_pair(student, teacher, DataRoot(root=str(dataroot), version=version), seed)
    found = samples(task, batches)
    rows = [row_of(pair, found[pair]) for pair in found]
    console = Console()
    console.print(terminal_table("unexplained share of the variance", HEADINGS, rows))
    if report is not None:
        facts = {"student": student.stem, "teacher": teacher.stem, "batches": f"{batches}, seed {seed}"}
        body = f"{markdown_table(HEADINGS, rows)}\n\n{METHOD}"
        write_report(report, "What of the teacher is in the student's features", facts, body)


def open_pair(student: Path, teacher: Path, source: DataRoot, seed: int) -> DistillTask:
    """The student with its own weights and the frozen teacher; raises ConfigError where they do not fit."""
    config = student_config(checkpoint_config(student), str(student))
    config = replace(
        config,
        distill=replace(config.distill, teacher=str(teacher), inherit_head=False, cache_bytes=0),
        cross_scale=CrossScaleConfig(),
        data=replace(config.data, roots=[source], validation=[]),
        schedule=replace(config.schedule, seed=seed, anew=[]),
    )
    task = DistillTask(config)
    task.begin(student)
    task.model.eval()
    return task


def samples(task: DistillTask, batches: int) -> dict[tuple[str, str], list[CellSample]]:
    """One sample a batch of each pair of layers, and of the layer before the head with the teacher's predictions."""
    fabric = Fabric(accelerator="auto", devices=1, precision=task.config.schedule.precision)
    task.model.to(fabric.device)
    data = task.batches(RunPlan(steps=batches))
    generator = torch.Generator().manual_seed(0)
    found: dict[tuple[str, str], list[CellSample]] = {}
    for index in range(batches):
        with torch.no_grad(), fabric.autocast():
            seen = data[index].to(fabric.device)
            teacher = task.lidar_lesson.teacher_outputs(seen)
            outputs = task.model.train_forward(seen.inputs)
        for name, (ours, theirs) in _pairs(task.config.distill.layers, outputs, teacher).items():
            shape = tuple(theirs.shape[2:])
            inside = box_footprints(seen.ground_truth.boxes, task.model.spec.grid, shape, theirs.device).inside
            drawn = (torch.rand(inside.shape, generator=generator) < ANYWHERE_SHARE).to(inside.device)
            found.setdefault(name, []).append(_sample(ours.float(), theirs.float(), inside, drawn))
    return found


def _pairs(
    layers: Sequence[LayerPair], student: DetectorOutputs, teacher: DetectorOutputs
) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
    """Rasters (B, C, rows, columns) to compare, by their names."""
    last = student.features[PRE_HEAD]
    return {
        **{(pair.student, pair.teacher): (student.features[pair.student], teacher.features[pair.teacher])
           for pair in layers},
        (PRE_HEAD, "heatmap logits"): (last, teacher.heatmap),
        (PRE_HEAD, "box codes"): (last, teacher.regression.flatten(1, 2)),
    }  # fmt: skip


def _sample(student: Tensor, teacher: Tensor, inside: Tensor, drawn: Tensor) -> CellSample:
    """Cells of rasters, the student's brought to the teacher's resolution."""
    ours = resized(student, tuple(teacher.shape[2:]))
    ours, theirs = ours.permute(0, 2, 3, 1), teacher.permute(0, 2, 3, 1)
    moved = tuple(Cells(ours[inside], torch.roll(theirs, shift, (1, 2))[inside]) for shift in SHIFTS)
    return CellSample(Cells(ours[inside], theirs[inside]), moved, Cells(ours[drawn], theirs[drawn]))


def row_of(pair: tuple[str, str], found: Sequence[CellSample]) -> tuple[str, ...]:
    """A line of the table, as HEADINGS names it."""
    boxes = unexplained([sample.boxes for sample in found])
    off = min(unexplained([sample.moved[index] for sample in found]) for index in range(len(SHIFTS)))
    anywhere = unexplained([sample.anywhere for sample in found])
    return (*pair, f"{boxes:.2f}", f"{off:.2f}", f"{anywhere:.2f}")


def unexplained(found: Sequence[Cells]) -> float:
    """Residual over total variance of a ridge regression from student to teacher.

    It is fitted on the first batches and judged on the last.
    """
    count = max(1, min(len(found) - 1, round(FITTED_SHARE * len(found))))
    x, y = (torch.cat(part).double() for part in zip(*found[:count], strict=True))
    judged_x, judged_y = (torch.cat(part).double() for part in zip(*found[count:], strict=True))
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    ridge = RIDGE * x.square().mean() * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weights = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
    residual = judged_y - mean_y - (judged_x - mean_x) @ weights
    total = float((judged_y - mean_y).square().sum())
    return float(residual.square().sum()) / total if total > 0.0 else 0.0  # what never changes is known
