"""`kd kitti-ap`: KITTI's official figures of any detector's result files."""

from pathlib import Path
from typing import Annotated

import typer

from kd_perception.datasets.kitti_labels import read_names
from kd_perception.evaluation.kitti_files import print_scores, score_folders


def kitti_command(
    *,
    labels: Annotated[Path, typer.Option(help="KITTI's label_2: one text file a frame.")],
    results: Annotated[Path, typer.Option(help="Result files of the same names: 16 columns, the score last.")],
    frames: Annotated[
        Path | None, typer.Option(help="File that names the frames, one a line (ImageSets/val.txt). Default: all.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="JSON file for the figures.")] = None,
) -> None:
    """KITTI's AP of result files: easy, moderate and hard, in the picture, on the ground and in space."""
    print_scores(score_folders(labels, results, read_names(frames) if frames else ()), out)
