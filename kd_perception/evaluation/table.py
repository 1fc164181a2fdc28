"""The metric as a table: its columns and cells, for the terminal and for pages."""

from math import isnan

from rich.box import SIMPLE_HEAD
from rich.table import Table

from kd_perception.evaluation.headings import HeadingErrors
from kd_perception.evaluation.metric import ClassMetrics, Metrics, TruePositiveErrors

CLASS_COLUMNS = ("GT", "found", "AP", "ATE [m]", "ASE", "AOE [rad]", "axis [rad]", "turned", "AVE [m/s]", "AAE")


def metrics_table(metrics: Metrics, title: str = "nuScenes detection metric") -> Table:
    """One row a class (classes without ground truth are dimmed: their AP is 0 by definition), mAP and NDS below."""
    table = Table(
        title=title,
        caption=f"mAP [bold]{metrics.mean_ap:.4f}[/bold]   NDS [bold]{metrics.nds:.4f}[/bold]   "
        "(errors: m, 1 - IoU, rad, m/s, 1 - accuracy)",
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("class", no_wrap=True)
    for column in CLASS_COLUMNS:
        table.add_column(column.partition(" [")[0], justify="right", no_wrap=True)
    for name, row in metrics.classes.items():
        table.add_row(name, *class_cells(row), style="" if row.ground_truths else "dim")
    ground_truths = sum(row.ground_truths for row in metrics.classes.values())
    detections = sum(row.detections for row in metrics.classes.values())
    means = _error_cells(metrics.errors, metrics.headings)
    table.add_section()
    table.add_row("mean", str(ground_truths), str(detections), f"{metrics.mean_ap:.3f}", *means)
    return table


def class_cells(row: ClassMetrics) -> tuple[str, ...]:
    """A class's figures, one a column of CLASS_COLUMNS; a dash where the metric defines none (NaN)."""
    return str(row.ground_truths), str(row.detections), f"{row.ap:.3f}", *_error_cells(row.errors, row.headings)


def _error_cells(errors: TruePositiveErrors, headings: HeadingErrors) -> tuple[str, ...]:
    turned = "-" if isnan(headings.turned) else f"{headings.turned:.0%}"
    before = (errors.translation, errors.scale, errors.orientation, headings.axis)
    return *map(_cell, before), turned, *map(_cell, (errors.velocity, errors.attribute))


def _cell(value: float) -> str:
    return "-" if isnan(value) else f"{value:.2f}"
