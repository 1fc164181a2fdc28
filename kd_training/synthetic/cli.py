"""`kd synth`: renders a synthetic data set in nuScenes format."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kd_perception.errors import KdError
from kd_training.synthetic.generate import SynthConfig, generate


def _parse_size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no image size; write WIDTHxHEIGHT, for example 704x256") from None
    return width, height


def synth(
    out: Annotated[Path, typer.Option(help="Folder of the data set; a set begun there is continued.")],
    scenes: Annotated[int, typer.Option(help="Number of scenes.")] = 2,
    frames: Annotated[int, typer.Option(help="Keyframes a scene, at 2 Hz.")] = 20,
    seed: Annotated[int, typer.Option(help="Everything follows from it; use another one for validation.")] = 0,
    size: Annotated[
        str, typer.Option(help="Camera images, WIDTHxHEIGHT: 1600x900 resized to the width, top rows cropped.")
    ] = "704x256",
    sweeps: Annotated[int, typer.Option(help="LiDAR turns between two keyframes, 0 to 9.")] = 9,
    jobs: Annotated[int, typer.Option(help="Scenes rendered at the same time.")] = 2,
) -> None:
    """Render a synthetic driving world: six cameras and a LiDAR in nuScenes format, which nuscenes-devkit loads
    (version v1.0-synth, split synth).
    """
    width, height = _parse_size(size)
    console = Console()
    columns = (
        TextColumn("rendering scenes"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    try:
        config = SynthConfig(out, scenes, frames, seed, width, height, sweeps, jobs)
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("scenes", total=scenes)
            generate(config, lambda done, total: progress.update(task, completed=done))
    except (KdError, ValueError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print(f"stopped; the finished scenes are in {out}, the same command continues")
        raise typer.Exit(130) from None
    console.print(f"{scenes} scenes in {out}; what they hold is in {out / 'card.md'}")


if __name__ == "__main__":
    typer.run(synth)
