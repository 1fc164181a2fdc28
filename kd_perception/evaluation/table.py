"""The metric as a table for the terminal."""

from rich.box import SIMPLE_HEAD
from rich.table import Table

from kd_perception.evaluation.metric import Metrics

ERROR_COLUMNS = (
    ("ATE [m]", "translation"),
    ("ASE", "scale"),
    ("AOE [rad]", "orientation"),
    ("AVE [m/s]", "velocity"),
    ("AAE", "attribute"),
)
SUMMARY_ERRORS = (
    "trans_err",
    "scale_err",
    "orient_err",
    "vel_err",
    "attr_err",
)  # the devkit's names, in the same order


def metrics_table(metrics: Metrics, title: str = "nuScenes detection metric") -> Table:
    """One row a class (classes without truth are dimmed: their AP is 0 by definition), mAP and NDS below."""
    table = Table(
        title=title,
        caption=f"mAP [bold]{metrics.mean_ap:.4f}[/bold]   NDS [bold]{metrics.nds:.4f}[/bold]   "
        "(errors: m, 1 - IoU, rad, m/s, 1 - accuracy)",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("class", no_wrap=True)
    for column in ("truth", "found", "AP", *(name.split()[0] for name, _ in ERROR_COLUMNS)):
        table.add_column(column, justify="right", no_wrap=True)
    for name, row in metrics.classes.items():
        errors = (number(getattr(row, field)) for _, field in ERROR_COLUMNS)
        table.add_row(
            name, str(row.truths), str(row.detections), f"{row.ap:.3f}", *errors, style="dim" if row.truths == 0 else ""
        )
    means = (number(metrics.summary["tp_errors"][name]) for name in SUMMARY_ERRORS)
    truths, found = (sum(getattr(row, field) for row in metrics.classes.values()) for field in ("truths", "detections"))
    table.add_section()
    table.add_row("mean of ten", str(truths), str(found), f"{metrics.mean_ap:.3f}", *means)
    return table


def number(value: float) -> str:
    """A figure with three decimals; a dash where the metric defines none (NaN)."""
    return "-" if value != value else f"{value:.3f}"
