"""The commands `kd train` and `kd export`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def train(
    config: Annotated[Path, typer.Argument(help="Configuration, for example config/training/bevdet_demo.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes as key=value, for example schedule.steps=500.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for weights, state, events, metrics, pictures; default: out/train/NAME of the file."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Start from these weights (the whole model; .safetensors).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the run in this folder, bit by bit (sets --out too).")
    ] = None,
) -> None:
    """Train a student, a student with a teacher, or a teacher, as the configuration says: saves every few minutes, ends
    with the metrics of data.validation and pictures (more processes: torchrun)."""
    from kd_training.config.experiment import TrainConfig, load_config
    from kd_training.loop.missing_teacher import train_missing_teacher
    from kd_training.loop.train import train as run

    if weights is not None and resume is not None:
        raise typer.BadParameter("--weights starts a new run and --resume continues one; give only one of them")
    settings = load_config(config, overrides or [])
    folder = resume or out or Path("out/train") / config.stem
    before = train_missing_teacher(settings, overrides or []) if isinstance(settings, TrainConfig) else None
    if not run(settings, folder, weights, resume is not None):
        raise KeyboardInterrupt
    for finished in (before, folder):
        if finished is not None:
            validate(finished)


def validate(out: Path) -> None:
    """Print and write the metrics of a finished run's weights on its validation data, if it names any, and pictures."""
    from kd_training.batches.processes import is_first_process
    from kd_training.evaluation.validation import validation_metrics

    if not is_first_process():
        return
    from kd_perception.evaluation.table import metrics_table
    from kd_training.evaluation.pictures import write_comparisons

    console = Console()
    for source, metrics in validation_metrics(out):
        console.print(f"{source.root} {source.version}: mAP {metrics.mean_ap:.4f}, NDS {metrics.nds:.4f}")
        console.print(metrics_table(metrics))
    pictures = write_comparisons(out)
    if pictures is not None:
        console.print(f"pictures: {pictures}")


def export(
    checkpoint: Annotated[Path, typer.Argument(help="weights.safetensors of a run, or the run's folder.")],
    out: Annotated[Path, typer.Option(help="The student file to write (.onnx).")],
    data: Annotated[str, typer.Option(help="What it was trained on, for the file's metadata.")] = "",
    metrics: Annotated[
        Path | None, typer.Option(help="metrics_summary.json to state in the metadata; default: the run's own.")
    ] = None,
) -> None:
    """Write a trained student as one ONNX file, with its weights (.safetensors) beside it, after checking it against
    PyTorch."""
    from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config, save_weights
    from kd_training.checkpoints.export import export_student
    from kd_training.checkpoints.models import load_model
    from kd_training.checkpoints.provenance import provenance_of
    from kd_training.config.experiment import student_config
    from kd_training.evaluation.validation import measured_accuracy

    path = checkpoint / WEIGHTS_FILE if checkpoint.is_dir() else checkpoint
    config = student_config(checkpoint_config(path), str(path))
    config = replace(config, data=replace(config.data, workers=0))
    model = load_model(path)
    accuracy = measured_accuracy(metrics or path.parent / "metrics" / "metrics_summary.json")
    spec = export_student(model, out, provenance_of(config, data), accuracy, {})
    save_weights(model.state_dict(), config, out.with_suffix(".safetensors"))
    size = out.stat().st_size / 1e6
    Console().print(
        f"{out}: {spec.name}, {size:.1f} MB, {spec.view.kind}, {spec.image_size[1]}x{spec.image_size[0]}, equal to "
        "PyTorch"
    )
