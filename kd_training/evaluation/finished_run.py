"""What a finished run tells about itself: metrics on its validation sets, and pictures."""

from pathlib import Path

from rich.console import Console

from kd_perception.evaluation.table import metrics_table
from kd_training.batches.processes import is_first_process
from kd_training.evaluation.pictures import write_comparisons
from kd_training.evaluation.validation import learnt_depth_alone, validation_depth, validation_metrics


def validate(out: Path) -> None:
    """Print and write a finished run's metrics on each of its validation sets, and pictures; nothing without one.

    Of a run that learnt depth alone there are the figures of depth, and no pictures.
    """
    if not is_first_process():
        return
    console = Console()
    if learnt_depth_alone(out):
        for source, depth in validation_depth(out):
            console.print(f"{source.root} {source.version}: {depth}")
        return
    for source, metrics in validation_metrics(out):
        console.print(f"{source.root} {source.version}: mAP {metrics.mean_ap:.4f}, NDS {metrics.nds:.4f}")
        console.print(metrics_table(metrics))
    pictures = write_comparisons(out)
    if pictures is not None:
        console.print(f"pictures: {pictures}")
