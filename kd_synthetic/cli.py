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

OF_INVENTED_WORLDS = ("scenes", "frames", "sweeps", "rig", "camera_hz", "camera_spread_ms")  # given tables have these
OUT_HELP = (
    f"Folder of the data set. It gets tables in {SYNTHETIC_VERSION}/, all scenes in the split {SPLIT}, and a card.md. "
    "A set started there is continued."
)
WORLD, SENSORS, LOOKS, TABLES = "The world", "Sensors", "City, light and weather", "Real traffic"  # help sections


def _parse_size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no image size; write WIDTHxHEIGHT, for example 704x256") from None
    return width, height


def _refuse_unused_options(context: typer.Context, tables: Path | None) -> None:
    """Refuse options that only an invented world has, or that only tables have, when the other is rendered."""
    names = ("version",) if tables is None else OF_INVENTED_WORLDS
    given = [name for name in names if context.get_parameter_source(name).name != "DEFAULT"]
    options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
    if given and tables is None:
        raise ValueError(f"{options} belongs to --tables; leave it out, or name the tables' folder with --tables")
    if given:
        raise ValueError(f"with --tables, keyframes and cameras are those of the tables; leave out {options}")


@contextmanager
def progress_bar(scenes: int, console: Console) -> Iterator[Callable[[int, int], None]]:
    """A bar of `scenes` scenes; yields what to call with (done, total)."""
    described = TextColumn("rendering scenes")
    columns = (described, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("scenes", total=scenes)
        yield lambda done, total: progress.update(task, completed=done)


def synth(
    context: typer.Context,
    *,
    out: Annotated[Path, typer.Option(help=OUT_HELP, rich_help_panel=WORLD)],
    scenes: Annotated[int, typer.Option(help="Number of scenes.", rich_help_panel=WORLD)] = SynthConfig.scenes,
    frames: Annotated[
        int, typer.Option(help="Keyframes in each scene, two a second.", rich_help_panel=WORLD)
    ] = SynthConfig.frames,
    seed: Annotated[
        int,
        typer.Option(
            help="Another seed gives another world: use different ones to train and to validate.", rich_help_panel=WORLD
        ),
    ] = SynthConfig.seed,
    jobs: Annotated[
        int, typer.Option(help="Scenes rendered at the same time.", rich_help_panel=WORLD)
    ] = SynthConfig.jobs,
    size: Annotated[
        str,
        typer.Option(
            help="WIDTHxHEIGHT of pictures: 1600x900 scaled to the width, then cropped at the top.",
            rich_help_panel=SENSORS,
        ),
    ] = f"{SynthConfig.width}x{SynthConfig.height}",
    sweeps: Annotated[
        int, typer.Option(help="LiDAR turns between two keyframes, 0 to 9.", rich_help_panel=SENSORS)
    ] = SynthConfig.sweeps,
    rig: Annotated[
        str,
        typer.Option(
            help="nuscenes: six cameras. moved: the same, up to 20 cm, 2 degrees and 10 % of the focal "
            "length off. distorted: barrel lenses. fisheye: four cameras of 190 degrees.",
            rich_help_panel=SENSORS,
        ),
    ] = SynthConfig.rig,
    camera_hz: Annotated[
        int, typer.Option(help="Pictures a second: 2 (keyframes only), 4, 10 or 20.", rich_help_panel=SENSORS)
    ] = SynthConfig.camera_hz,
    camera_spread_ms: Annotated[
        float,
        typer.Option(help="Time between a rig's first and last camera to fire, 0 to 50 ms.", rich_help_panel=SENSORS),
    ] = SynthConfig.camera_spread_ms,
    masks: Annotated[
        bool, typer.Option("--masks", help="Write instance masks of the keyframes.", rich_help_panel=SENSORS)
    ] = SynthConfig.masks,
    depth: Annotated[
        bool,
        typer.Option(
            "--depth", help="Write depth of the keyframes: the range along each pixel's ray.", rich_help_panel=SENSORS
        ),
    ] = SynthConfig.depth,
    city: Annotated[
        str,
        typer.Option(
            help="A: winding roads, traffic on the right. B: a grid of narrow streets, traffic on the "
            "left. mixed: drawn for each scene.",
            rich_help_panel=LOOKS,
        ),
    ] = SynthConfig.city,
    light: Annotated[str, typer.Option(help="day, dusk, night or mixed.", rich_help_panel=LOOKS)] = SynthConfig.light,
    weather: Annotated[str, typer.Option(help="dry, rain or mixed.", rich_help_panel=LOOKS)] = SynthConfig.weather,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="Re-render the traffic of these nuScenes-format tables: the folder above "
            "VERSION/. Sensor files need not be there.",
            rich_help_panel=TABLES,
        ),
    ] = None,
    version: Annotated[str, typer.Option(help="Version of --tables.", rich_help_panel=TABLES)] = "v1.0-mini",
) -> None:
    """Render a synthetic driving world in nuScenes format: cameras, a LiDAR and annotations.

    nuscenes-devkit and `kd train` read it like nuScenes. The same options give the same bytes.
    """
    width, height = _parse_size(size)
    common = {"seed": seed, "width": width, "height": height, "jobs": jobs, "masks": masks, "depth": depth}
    console = Console()
    try:
        _refuse_unused_options(context, tables)
        if tables is not None:
            conditions = Conditions(city, light, weather)
            again = RerenderConfig(out, dataroot=tables, version=version, conditions=conditions, **common)
            scenes, run = again.scenes, partial(rerender, again)
        else:
            invented = SynthConfig(
                out, scenes=scenes, frames=frames, sweeps=sweeps, rig=rig, camera_hz=camera_hz,
                camera_spread_ms=camera_spread_ms, city=city, light=light, weather=weather, **common,
            )  # fmt: skip
            run = partial(generate, invented)
        with progress_bar(scenes, console) as on_scene:
            run(on_scene)
    except (KdError, ValueError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print(f"stopped; the finished scenes are in {out}, the same command continues")
        raise typer.Exit(130) from None
    console.print(f"{scenes} scenes in {out}; {out / 'card.md'} describes them")


if __name__ == "__main__":
    typer.run(synth)
