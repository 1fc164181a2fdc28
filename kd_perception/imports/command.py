"""`kd import`: recordings of other formats become nuScenes-format data sets. Packages add commands by the entry-point
group `kd.imports`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from kd_perception.commands.group import CommandGroup
from kd_perception.datasets.clouds import FULL_INTENSITY
from kd_perception.datasets.kitti_labels import read_names
from kd_perception.datasets.versions import AV2_VERSION, BAG_VERSION, KITTI_VERSION, T4_VERSION
from kd_perception.imports.av2 import RING, STEREO, import_av2
from kd_perception.imports.bag_labels import read_bag_labels
from kd_perception.imports.kitti import import_kitti
from kd_perception.imports.t4 import import_t4
from kd_perception.imports.written import LogImport, WrittenData
from kd_perception.printable import printable


class Imports(CommandGroup):
    """The commands of this file, and those that other packages add."""

    entry_point_group = "kd.imports"

    def list_commands(self, ctx) -> list[str]:  # noqa: ANN001 - typer's own context type is private
        """Names, those of this file first."""
        return [*self.commands, *super().list_commands(ctx)]

    def get_command(self, ctx, cmd_name: str):  # noqa: ANN001, ANN201
        """See CommandGroup."""
        return self.commands.get(cmd_name) or super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=Imports,
    no_args_is_help=True,
    help="Turn recordings of other formats into nuScenes-format data sets, and published checkpoints into weights.",
)

Out = Annotated[Path, typer.Option(help="Folder of the new data set.")]
Copy = Annotated[bool, typer.Option("--copy", help="Copy the sensors' files instead of linking to them.")]

KeyframesOnly = Annotated[bool, typer.Option("--keyframes-only", help="Leave out images and clouds between keyframes.")]


@app.callback()
def imports() -> None:
    """Turn recordings of other formats into nuScenes-format data sets, and published checkpoints into weights."""


@app.command()
def kitti(
    *,
    source: Annotated[Path, typer.Argument(help="Folder that holds training/, or image_2/ itself.")],
    out: Out,
    frames: Annotated[
        Path | None, typer.Option(help="File that names the frames, one a line (ImageSets/train.txt). Default: all.")
    ] = None,
    copy: Copy = False,
) -> None:
    """Import KITTI's object benchmark: image_2, image_3, velodyne, calib and label_2. Each frame becomes a scene."""
    console = Console(stderr=True)
    with _progress(console, "frames") as progress:
        count = import_kitti(source, out, names=read_names(frames) if frames else (), copy=copy, progress=progress)
    console.print(f"wrote [bold]{out}[/bold], version {KITTI_VERSION}: {count} frames", soft_wrap=True)


@app.command()
def bag(
    *,
    source: Annotated[Path, typer.Argument(help="rosbag2 folder, or its .mcap or .db3 file.")],
    out: Out,
    labels: Annotated[
        Path | None, typer.Option(help="JSON file of boxes (docs/own_data.md). Default: none, for teaching without.")
    ] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(help="NAME=IMAGE_TOPIC or NAME=IMAGE_TOPIC,INFO_TOPIC; repeat. Default: found by type and name."),
    ] = None,
    cloud: Annotated[str, typer.Option(help="Topic of the point cloud; default: found by type and name.")] = "",
    base_frame: Annotated[str, typer.Option(help="The robot's frame, x forward, y left, z up.")] = "base_link",
    full_intensity: Annotated[
        float, typer.Option(min=1e-3, help="Intensity of a cloud's brightest point, as lidar_teacher's full_intensity.")
    ] = FULL_INTENSITY,
    keyframes_only: KeyframesOnly = False,
) -> None:
    """Import a bag with images, CameraInfo, tf and, if it has them, clouds; it becomes one scene.

    Of a folder of hard_sample_recorder each kept frame becomes a keyframe, and scenes end where time has gaps.
    """
    from kd_perception.imports.bag import BagImport, import_bag  # needs ROS messages, which KITTI does not

    console = Console(stderr=True)
    boxes = read_bag_labels(labels) if labels else None
    wanted = BagImport(source, out, boxes, camera or (), cloud, base_frame, keyframes_only, full_intensity)
    with _progress(console, "messages") as progress:
        written = import_bag(wanted, progress)
    _tell(console, out, BAG_VERSION, written)


@app.command()
def av2(
    *,
    source: Annotated[Path, typer.Argument(help="Folder of a log, or of a split that holds logs.")],
    out: Out,
    keyframe_hz: Annotated[float, typer.Option(help="Keyframes a second, of the 10 that are labelled; 0: all.")] = 2.0,
    stereo: Annotated[bool, typer.Option("--stereo", help="The two grey stereo cameras, too.")] = False,
    keyframes_only: KeyframesOnly = False,
    copy: Copy = False,
) -> None:
    """Import sensor logs of Argoverse 2: seven ring cameras, both LiDARs and boxes. Each log becomes a scene."""
    console = Console(stderr=True)
    wanted = LogImport(source, out, keyframe_hz, keyframes_only, copy)
    with _progress(console, "files") as progress:
        written = import_av2(wanted, (*RING, *STEREO) if stereo else RING, progress)
    _tell(console, out, AV2_VERSION, written)


@app.command()
def t4(
    *,
    source: Annotated[Path, typer.Argument(help="Folder of a T4 data set (annotation/ and data/), or of several.")],
    out: Out,
    keyframe_hz: Annotated[float, typer.Option(help="Keyframes a second; 0: every sample.")] = 0.0,
    keyframes_only: KeyframesOnly = False,
    copy: Copy = False,
) -> None:
    """Import T4 data sets of Autoware's tools: cameras, LiDARs and boxes. Each data set becomes a scene."""
    console = Console(stderr=True)
    with _progress(console, "files") as progress:
        written = import_t4(LogImport(source, out, keyframe_hz, keyframes_only, copy), progress)
    _tell(console, out, T4_VERSION, written)


def _tell(console: Console, out: Path, version: str, written: WrittenData) -> None:
    """What was written, and what was left out."""
    for problem in written.problems:
        console.print(f"[yellow]warning[/]: {escape(printable(problem))}", soft_wrap=True, highlight=False)
    console.print(
        f"wrote [bold]{out}[/bold], version {version}: {written.keyframes} keyframes, {written.boxes} boxes, "
        f"{written.files} files",
        soft_wrap=True,
    )


@contextmanager
def _progress(console: Console, text: str) -> Iterator[Callable[[int, int], None]]:
    with Progress(console=console, transient=True) as bars:
        task = bars.add_task(text, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
