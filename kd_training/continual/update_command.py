"""`kd continual update`: a student learns a new domain and keeps what it knew."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def update(
    *,
    config: Annotated[Path, typer.Argument(help="Configuration, e.g. config/continual/update_demo.yaml.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes as key=value, e.g. continual.domain=night.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the student file, its card, weights and events. Default: out/update/CONFIG."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Continue the update in this folder where it stopped; replaces --out.")
    ] = None,
) -> None:
    """Teach a student a new domain without forgetting earlier ones; leaves a student file that replaces the old one.

    Nothing that exists is changed before the update has succeeded: then the replay buffer takes the new domain in.
    """
    from kd_training.config.experiment import load_student_config
    from kd_training.continual.update import run_update

    settings = load_student_config(config, overrides or [])
    folder = resume or out or Path("out/update") / config.stem
    for sentence in run_update(settings, folder, overrides or [], resume=resume is not None):
        Console().print(sentence)
