"""`kd continual buffer`: what is replayed of earlier domains."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, help="The replay buffer: what it keeps of earlier domains, and why.")

Folder = Annotated[Path, typer.Argument(help="Folder of the buffer.")]


@app.callback()
def buffer() -> None:
    """The replay buffer: what it keeps of earlier domains, and why."""


@app.command()
def show(
    *,
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="Folder for the page; default: out/buffer/NAME.")] = None,
) -> None:
    """Say what a buffer holds by domain and class, and write a page with pictures: why each keyframe is kept."""
    from kd_training.continual.show import print_buffer, write_page
    from kd_training.data.replay_buffer import read_buffer

    kept = read_buffer(folder)
    print_buffer(kept, Console())
    page = write_page(kept, out or Path("out") / "buffer" / folder.resolve().name)
    Console(stderr=True).print(f"wrote [bold]{page}[/bold]", soft_wrap=True)


@app.command()
def add(
    *,
    folder: Folder,
    config: Annotated[Path, typer.Argument(help="A student's configuration: data.roots and data.unlabelled.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Changes as key=value.")] = None,
    domain: Annotated[str, typer.Option(help="Name of the domain, such as day.")],
    student: Annotated[
        Path | None,
        typer.Option(help="Weights of the student that learnt it: keyframes that it is unsure of count more."),
    ] = None,
) -> None:
    """Offer what a student was trained on to a buffer, which is made where there is none: continual.buffer says how.

    `kd continual update` offers a new domain itself. Of data.unlabelled it takes the teacher's labels (kd label).
    """
    from kd_training.checkpoints.models import load_model
    from kd_training.config.experiment import load_student_config
    from kd_training.config.student_spec import configured_classes
    from kd_training.continual.buffer import OfferedDomain, add_domain
    from kd_training.continual.show import print_buffer
    from kd_training.data.unlabelled_sets import open_student_frames
    from kd_training.evaluation.uncertainty import uncertainties

    settings = load_student_config(config, overrides or [])
    classes = configured_classes(settings.model.classes, settings.model.name)
    frames = open_student_frames(settings.data, classes)
    unsure = None if student is None else uncertainties(load_model(student), frames)
    offered = OfferedDomain(domain, frames, unsure)
    print_buffer(add_domain(folder, offered, settings.continual.buffer), Console())
