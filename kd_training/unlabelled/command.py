"""The command `kd label`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def label(
    *,
    config: Annotated[Path, typer.Argument(help="A student's configuration with data.unlabelled and distill.teacher.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes as key=value.")] = None,
    score: Annotated[
        bool,
        typer.Option(help="Compare with the labels that the tables of data.unlabelled have: for experiments."),
    ] = False,
) -> None:
    """Let a student's teacher label the keyframes that nobody labelled, into data.pseudo.folder.

    `kd train` does the same before its first step where that was not done yet. What the teacher answered is kept.
    """
    from kd_training.config.experiment import load_student_config
    from kd_training.unlabelled.labelling import Labelling
    from kd_training.unlabelled.report import PLOT_FILE, thresholds_table, truth_table, write_plot

    console, labelling = Console(), Labelling(load_student_config(config, overrides or []))
    labelling.check_folder()
    labelled = labelling.label()
    console.print(thresholds_table(labelled))
    for sentence in labelled.sentences():
        console.print(sentence)
    calibrated = labelling.judged_calibration()
    if calibrated is not None:
        write_plot(labelling.folder / PLOT_FILE, calibrated, labelled.thresholds)
        console.print(f"plot: {labelling.folder / PLOT_FILE}")
    if score:
        console.print(truth_table(labelling.judged_unlabelled(), labelled.thresholds))
