"""`kd data check`: what someone runs first on a data set of their own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from kd_perception.data_check.calibration import check_calibrations
from kd_perception.data_check.files import check_categories, check_duplicates, check_files, check_gaps
from kd_perception.data_check.labels import LabelArrays, read_label_arrays
from kd_perception.data_check.motion import check_headings, check_velocities
from kd_perception.data_check.pictures import draw_labels
from kd_perception.data_check.report import CameraSummary, DataReport, print_report, write_report
from kd_perception.data_check.returns import HitBoxes, check_frames, check_judged, check_turns, count_returns
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes, scene_names, scene_samples
from kd_perception.errors import DataError
from kd_perception.geometry.classes import NUSCENES, ClassList, read_classes
from kd_perception.geometry.transforms import apply, invert
from kd_perception.rig_check.finding import Finding, Severity, merged

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

MOST_CLOUDS = 60  # keyframes whose clouds are read, evenly over the data set

app = typer.Typer(no_args_is_help=True, help="Data sets: what is in them, and what is wrong.")


@app.callback()
def data() -> None:
    """Data sets: what is in them, and what is wrong."""


@app.command()
def check(
    *,
    dataroot: Annotated[Path, typer.Argument(help="Folder of the data set: samples/ and the tables' folder.")],
    version: Annotated[str, typer.Option(help="Folder of the tables; default: the only one there is.")] = "",
    classes: Annotated[Path | None, typer.Option(help="Class list (.yaml). Default: the ten nuScenes classes.")] = None,
    other: Annotated[
        Path | None, typer.Option(help="Another data set that must not hold the same moments: the other split.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the page; default: out/data/NAME.")] = None,
) -> None:
    """Count labels by class, distance, points and camera, and say what is wrong with boxes, frames, files and times.

    Exit status 1 if something must be fixed.
    """
    console = Console(stderr=True)
    with console.status("reading tables and clouds"):
        nusc = open_nuscenes(dataroot, version or only_version(dataroot))
        apart = open_nuscenes(other, only_version(other)) if other else None
        report = examine(nusc, read_classes(classes) if classes else NUSCENES, apart)
    page = write_report(report, out or Path("out") / "data" / dataroot.resolve().name)
    print_report(report, Console())
    console.print(f"wrote [bold]{page}[/bold]", soft_wrap=True)
    if report.bad:
        raise typer.Exit(1)


def only_version(dataroot: Path) -> str:
    """The only folder with tables below a data root; raises DataError if there is none, or more than one."""
    found = sorted(path.parent.name for path in dataroot.glob("*/sample.json"))
    if len(found) != 1:
        listed = ", ".join(found) or "none"
        raise DataError(f"{dataroot} needs one folder with sample.json, found: {listed}; name it with --version")
    return found[0]


def examine(nusc: "Tables", classes: ClassList = NUSCENES, other: "Tables | None" = None) -> DataReport:
    """All checks of a data set, errors first, and pictures with its boxes."""
    samples = [sample for scene in scene_names(nusc) for sample in scene_samples(nusc, scene)]
    labels = read_label_arrays(nusc, samples)
    hit, unread = count_returns(nusc, _evenly([token for token in samples if nusc.get("sample", token)["anns"]]))
    findings = [
        *check_files(nusc, samples),
        *unread,
        *check_gaps(nusc),
        *check_categories(labels, classes),
        *check_calibrations(nusc),
        *(check_duplicates(nusc, other) if other is not None else ()),
    ]
    findings += _check_boxes(labels, hit)
    distance, cameras = _seen(nusc, samples, labels)
    title = f"{Path(nusc.dataroot).name} {nusc.version}: {len(nusc.scene)} scenes, {len(samples)} keyframes"
    return DataReport(title, labels, distance, cameras, merged(findings), draw_labels(nusc, samples, labels))


def _check_boxes(labels: LabelArrays, hit: HitBoxes | None) -> list[Finding]:
    """Where boxes are; in the right frame, also how they are turned and move."""
    misplaced = check_frames(hit) if hit is not None else []
    if misplaced:
        return misplaced
    findings = [*check_headings(labels), *check_velocities(labels), *check_judged(hit, labels)]
    if hit is not None:
        return [*findings, *check_turns(hit, labels)]
    sentence = "no keyframe has boxes and a cloud: only the pictures tell whether boxes lie on objects"
    return [*findings, Finding(Severity.note, sentence, doubt=True)] if len(labels) else findings


def _evenly(samples: Sequence[str]) -> list[str]:
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(MOST_CLOUDS, len(samples))).astype(int))
    return [samples[index] for index in chosen]


def _seen(nusc: "Tables", samples: Sequence[str], labels: LabelArrays) -> tuple[np.ndarray, list[CameraSummary]]:
    """Distance of each label from ego, and what each camera has and sees."""
    distance = np.full(len(labels), np.nan)
    counts: dict[str, list[int]] = {}
    sizes: dict[str, dict[str, None]] = {}
    start = 0
    for sample in samples:
        chosen = slice(start, start + len(nusc.get("sample", sample)["anns"]))
        start = chosen.stop
        if not nusc.rig_of(sample).cameras:
            continue
        frame = load_frame(nusc, sample)
        center = apply(invert(frame.global_from_ego), labels.center[chosen])
        distance[chosen] = np.linalg.norm(center[:, :2], axis=1)
        for image in (image for image in frame.images if image.path is not None):
            camera = image.camera
            local = apply(invert(image.global_from_ego), labels.center[chosen])
            count = counts.setdefault(camera.name, [0, 0])
            count[0] += 1
            count[1] += int(camera.project(local)[2].sum())
            sizes.setdefault(camera.name, {})[f"{camera.width}x{camera.height}"] = None
    return distance, [CameraSummary(name, n, list(sizes[name]), seen) for name, (n, seen) in counts.items()]
