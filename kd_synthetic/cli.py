"""`kd synth`: renders a synthetic data set in nuScenes format."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.errors import KdError
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate
from kd_synthetic.dataset.tables import SPLIT
from kd_synthetic.rerender.rerender import RerenderConfig, rerender
from kd_synthetic.streets.conditions import Conditions

DEFAULTS = (2, 20, 9, "nuscenes", 2, 0.0)  # scenes, frames, sweeps, rig, camera_hz, camera_spread_ms
OUT_HELP = (
    f"Folder of the data set: tables in {SYNTHETIC_VERSION}/, all scenes in the split {SPLIT}; a set begun there is "
    "continued."
)


def _parse_size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no image size; write WIDTHxHEIGHT, for example 704x256") from None
    return width, height


def _refuse_other_worlds(*settings: object) -> None:
    """With tables, what only an invented world has must be left at its default."""
    names = ("--scenes", "--frames", "--sweeps", "--rig", "--camera-hz", "--camera-spread-ms")
    given = [name for name, value, usual in zip(names, settings, DEFAULTS, strict=True) if value != usual]
    if given:
        raise ValueError(f"with --tables, keyframes and cameras are those of the tables; leave out {', '.join(given)}")


@contextmanager
def progress_bar(scenes: int, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar of `scenes` scenes; yields what to call with (done, total)."""
    described = TextColumn("rendering scenes")
    columns = (described, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("scenes", total=scenes)
        yield lambda done, total: progress.update(task, completed=done)


def synth(
    out: Annotated[Path, typer.Option(help=OUT_HELP)],
    scenes: Annotated[int, typer.Option(help="Number of scenes.")] = DEFAULTS[0],
    frames: Annotated[int, typer.Option(help="Keyframes a scene, at 2 Hz.")] = DEFAULTS[1],
    seed: Annotated[int, typer.Option(help="Everything follows from it; use another one for validation.")] = 0,
    size: Annotated[
        str, typer.Option(help="Camera images, WIDTHxHEIGHT: 1600x900 resized to the width, top rows cropped.")
    ] = "704x256",
    sweeps: Annotated[int, typer.Option(help="LiDAR turns between two keyframes, 0 to 9.")] = DEFAULTS[2],
    jobs: Annotated[int, typer.Option(help="Scenes rendered at the same time.")] = 2,
    rig: Annotated[
        str,
        typer.Option(
            help="nuscenes; moved (by 20 cm, 2 degrees, 10 % of the focal length); distorted (barrel lenses); "
            "fisheye (four of 190 degrees). Streets and traffic stay the same."
        ),
    ] = DEFAULTS[3],
    camera_hz: Annotated[int, typer.Option(help="Pictures a second: 2 (keyframes only), 4, 10 or 20.")] = DEFAULTS[4],
    camera_spread_ms: Annotated[
        float, typer.Option(help="Time between the first and the last camera of a rig to fire, 0 to 50 ms.")
    ] = DEFAULTS[5],
    city: Annotated[
        str,
        typer.Option(help="A: winding roads, traffic on the right; B: a grid of narrow streets, on the left; mixed."),
    ] = "A",
    light: Annotated[str, typer.Option(help="day, dusk, night or mixed.")] = "day",
    weather: Annotated[str, typer.Option(help="dry, rain or mixed.")] = "dry",
    masks: Annotated[bool, typer.Option("--masks", help="Write instance masks of the keyframes.")] = False,
    depth: Annotated[bool, typer.Option("--depth", help="Write depth (range) of the keyframes.")] = False,
    tables: Annotated[
        Path | None,
        typer.Option(help="Render the traffic of these nuScenes-format tables (the folder above VERSION/) again."),
    ] = None,
    version: Annotated[str, typer.Option(help="Version of --tables.")] = "v1.0-mini",
) -> None:
    """Render a synthetic driving world: six cameras and a LiDAR in nuScenes format, which nuscenes-devkit loads."""
    width, height = _parse_size(size)
    console = Console()
    try:
        if tables is not None:
            _refuse_other_worlds(scenes, frames, sweeps, rig, camera_hz, camera_spread_ms)
            conditions = Conditions(city, light, weather)
            again = RerenderConfig(out, tables, version, seed, width, height, jobs, conditions, masks, depth)
            scenes = again.scenes
            run = partial(rerender, again)
        else:
            sensors = (width, height, sweeps, jobs, rig, camera_hz, camera_spread_ms)
            run = partial(
                generate, SynthConfig(out, scenes, frames, seed, *sensors, city, light, weather, masks, depth)
            )
        with progress_bar(scenes, console) as on_scene:
            run(on_scene)
    except (KdError, ValueError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print(f"stopped; the finished scenes are in {out}, the same command continues")
        raise typer.Exit(130) from None
    console.print(f"{scenes} scenes in {out}; what they hold is in {out / 'card.md'}")


if __name__ == "__main__":
    typer.run(synth)
