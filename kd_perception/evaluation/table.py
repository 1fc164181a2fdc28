"""The metric as a table for the terminal."""

from rich.table import Table

from kd_perception.evaluation.metric import Metrics

ERROR_COLUMNS = (
    ("ATE [m]", "translation"), ("ASE", "scale"), ("AOE [rad]", "orientation"), ("AVE [m/s]", "velocity"), ("AAE", "attribute"),
)  # fmt: skip


def metrics_table(metrics: Metrics, title: str = "nuScenes detection metric") -> Table:
    """One row a class (classes without truth are dimmed: their AP is 0 by definition), mAP and NDS below."""
    table = Table(title=title, caption=f"mAP [bold]{metrics.mean_ap:.4f}[/bold]   NDS [bold]{metrics.nds:.4f}[/bold]")
    table.add_column("class")
    for column in ("truth", "detections", "AP", *(name for name, _ in ERROR_COLUMNS)):
        table.add_column(column, justify="right")
    for name, row in metrics.classes.items():
        errors = (number(getattr(row, field)) for _, field in ERROR_COLUMNS)
        table.add_row(name, str(row.truths), str(row.detections), f"{row.ap:.3f}", *errors, style="dim" if row.truths == 0 else "")
    return table


def number(value: float) -> str:
    """A figure with three decimals; a dash where the metric defines none (NaN)."""
    return "-" if value != value else f"{value:.3f}"
