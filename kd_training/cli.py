"""The commands `kd train` and `kd export`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.evaluation.result_folder import SUMMARY_FILE
from kd_perception.student.spec import PRECISIONS


def train(
    *,
    config: Annotated[Path, typer.Argument(help="Configuration, e.g. config/training/bevdet_demo.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes as key=value, e.g. schedule.steps=500.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for weights, state, events, metrics and pictures. Default: out/train/CONFIG."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Start a new run from these weights of the whole model (.safetensors).")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the run in this folder exactly where it stopped; replaces --out.")
    ] = None,
) -> None:
    """Train what the configuration describes: a student, a distilled student, a LiDAR teacher or a label encoder.

    Saves every few minutes, and ends with the metrics of data.validation and pictures. Start it with torchrun for
    several processes.
    """
    from kd_training.config.experiment import TrainConfig, load_config
    from kd_training.evaluation.finished_run import validate
    from kd_training.loop.before_start import check_start
    from kd_training.loop.train import train as run
    from kd_training.loop.train_teacher_first import train_missing_teachers

    if weights is not None and resume is not None:
        raise typer.BadParameter("--weights starts a new run and --resume continues one; give only one of them")
    settings = load_config(config, overrides or [])
    folder = resume or out or Path("out/train") / config.stem
    check_start(settings, folder)
    before = train_missing_teachers(settings, overrides or []) if isinstance(settings, TrainConfig) else []
    if not run(settings, folder, weights, resume=resume is not None):
        raise KeyboardInterrupt
    for finished in (*before, folder):
        validate(finished)


def export(
    *,
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a run, or its weights (.safetensors).")],
    out: Annotated[Path, typer.Option(help="Student or teacher file to write (.onnx).")],
    data: Annotated[
        str, typer.Option(help="Training data in words, for the metadata. Default: the data sets of the configuration.")
    ] = "",
    metrics: Annotated[
        Path | None, typer.Option(help=f"{SUMMARY_FILE} with the accuracy to state. Default: the run's own.")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16 or int8, of a student. int8 is calibrated as kd quantise does.")
    ] = "fp32",
    dataroot: Annotated[
        Path | None, typer.Option(help="Data set for int8. Default: the first of the configuration's data.roots.")
    ] = None,
    version: Annotated[str, typer.Option(help="Name of that data set's tables folder.")] = SYNTHETIC_VERSION,
) -> None:
    """Export a trained student or LiDAR teacher as one ONNX file, checked against PyTorch.

    Writes the weights (.safetensors) next to it, for the torch engine. A file of another precision than fp32 is made of
    the fp32 file, which it leaves next to it as OUT.fp32.onnx.
    """
    from kd_training.checkpoints.checkpoint import WEIGHTS_FILE, checkpoint_config, save_weights
    from kd_training.checkpoints.export import export_student
    from kd_training.checkpoints.export_teacher import export_teacher
    from kd_training.checkpoints.models import load_model, load_teacher
    from kd_training.checkpoints.provenance import provenance_of
    from kd_training.config.experiment import TeacherTrainConfig, student_config
    from kd_training.evaluation.validation import measured_accuracy, metrics_folder

    path = checkpoint / WEIGHTS_FILE if checkpoint.is_dir() else checkpoint
    config = checkpoint_config(path)
    if precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision is one of {', '.join(PRECISIONS)}, not {precision}")
    if isinstance(config, TeacherTrainConfig) and precision != "fp32":
        raise typer.BadParameter("--precision is for students; a teacher's file is in fp32")
    wanted, out = out, out if precision == "fp32" else out.with_suffix(f".fp32{out.suffix}")
    accuracy = measured_accuracy(metrics or metrics_folder(path.parent, 0) / SUMMARY_FILE)
    if isinstance(config, TeacherTrainConfig):
        model = load_teacher(path)
        spec = export_teacher(model, out, provenance_of(config, data), accuracy)
        what = f"up to {spec.points.most} points of {spec.points.sweeps} sweeps"
    else:
        config = student_config(config, str(path))
        model = load_model(path)
        spec = export_student(model, out, provenance_of(config, data), accuracy, {})
        what = f"{spec.view.kind}, {spec.image_size[1]}x{spec.image_size[0]}"
    config = replace(config, data=replace(config.data, workers=0))
    save_weights(model.state_dict(), config, out.with_suffix(".safetensors"))
    Console().print(f"{out}: {spec.name}, {out.stat().st_size / 1e6:.1f} MB, {what}, equal to PyTorch")
    if precision != "fp32":
        from kd_training.quantise.command import write_precision

        source = (dataroot, version) if dataroot else (Path(config.data.roots[0].root), config.data.roots[0].version)
        write_precision(out, wanted, precision, source)
