"""`kd import checkpoint`: a published checkpoint of another framework as weights of ours."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_training.published.head_table import BoxConvention


class Subject(StrEnum):
    """What a checkpoint is imported as."""

    centerpoint_voxel = "centerpoint_voxel"
    centerpoint_pillar = "centerpoint_pillar"
    bevdet = "bevdet"
    bevdepth = "bevdepth"


def checkpoint(
    *,
    source: Annotated[Path, typer.Argument(help="Checkpoint (.pth, .ckpt or .safetensors).")],
    subject: Annotated[Subject, typer.Option("--as", help="What the checkpoint is.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights and the coverage.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Write weights although tensors are missing or left over.")
    ] = False,
    boxes: Annotated[
        BoxConvention | None, typer.Option(help="Whose conventions its boxes have. Default: told by the file.")
    ] = None,
    lidar_height: Annotated[
        float, typer.Option(help="Height of the LiDAR above base_link that it was trained with, metres.")
    ] = 1.84,
) -> None:
    """Import weights of mmdetection3d, OpenPCDet, BEVDet or BEVDepth. Every tensor is accounted for by name."""
    from kd_training.published.importing import COVERAGE_FILE, Import, import_checkpoint

    console = Console(stderr=True)
    wanted = Import(source, out, subject.value, boxes, lidar_height)
    import_checkpoint(wanted, partial=partial, say=lambda text: typer.echo(text, nl=False))
    console.print(
        f"wrote [bold]{out}[/bold]; {COVERAGE_FILE} has every tensor by name", soft_wrap=True, highlight=False
    )
