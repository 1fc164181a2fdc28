"""`kd rig check`: examines the cameras of any bag, without a model, and says what is wrong."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from kd_perception.geometry.transforms import apply
from kd_perception.printable import printable
from kd_perception.rig_check.ego_mask import propose_masks, write_masks
from kd_perception.rig_check.evidence import Evidence
from kd_perception.rig_check.finding import Finding, Severity, merged
from kd_perception.rig_check.moments import Moment, read_moments
from kd_perception.rig_check.mounting import (
    calibrated_cameras,
    check_coverage,
    check_directions,
    check_infos,
    check_pictures,
    check_transforms,
    footprint,
)
from kd_perception.rig_check.pictures import draw_cloud, draw_footprints, draw_unusable
from kd_perception.rig_check.recording import Recording, read_recording
from kd_perception.rig_check.report import RigReport, print_report, write_report
from kd_perception.rig_check.timing import check_stamps
from kd_perception.rig_check.verdicts import check_agreement
from kd_perception.ros.rectified import AUTO

app = typer.Typer(no_args_is_help=True, help="Cameras of a robot: how they are mounted, calibrated and recorded.")


@app.callback()
def rig() -> None:
    """Cameras of a robot: how they are mounted, calibrated and recorded."""


@app.command()
def check(
    *,
    bag: Annotated[Path, typer.Option(help="rosbag2 folder, or its .mcap or .db3 file.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the page and pictures; default: out/rig/BAG.")] = None,
    camera: Annotated[
        list[str] | None,
        typer.Option(help="NAME=IMAGE_TOPIC or NAME=IMAGE_TOPIC,INFO_TOPIC; repeat. Default: found by type and name."),
    ] = None,
    cloud: Annotated[str, typer.Option(help="Topic of the point cloud; default: found by type and name.")] = "",
    rectified: Annotated[
        list[str] | None,
        typer.Option(help="auto (by topic name), true or false: images without a lens; once, or once a camera."),
    ] = None,
    base_frame: Annotated[str, typer.Option(help="The robot's frame, x forward, y left, z up.")] = "base_link",
    moments: Annotated[int, typer.Option(min=1, help="Moments of the bag to compare with the cloud.")] = 8,
) -> None:
    """Draw a bag's cloud into its cameras and say what is wrong with topics, tf, calibration, stamps; no model needed.

    Exit status 1 if something must be fixed.
    """
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as bars:

        def progress(text: str):  # noqa: ANN202 - a callable for one bar
            task = bars.add_task(text, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        headers = progress("reading headers and transforms")
        recording = read_recording(bag, camera or (), cloud, headers, rectified=rectified or (AUTO,))
        seen = read_moments(recording, base_frame, moments, progress("reading pictures and clouds"))
        with console.status("comparing pictures with the cloud"):
            report = examine(recording, seen, base_frame)
    page = write_report(report, out or Path("out") / "rig" / bag.stem)
    print_report(report, Console())
    for sentence in write_masks(propose_masks(recording, seen, base_frame), page.parent):
        console.print(printable(sentence), soft_wrap=True, markup=False, highlight=False)
    console.print(f"wrote [bold]{escape(printable(str(page)))}[/bold] and its pictures", soft_wrap=True)
    if report.bad:
        raise typer.Exit(1)


def examine(recording: Recording, moments: Sequence[Moment], base_frame: str = "base_link") -> RigReport:
    """All checks of a recording, errors first, and its pictures at the middle one of `moments`."""
    middle = moments[len(moments) // 2] if moments else Moment(0, np.zeros((0, 3)), np.eye(4), {})
    cameras, unusable = calibrated_cameras(recording, base_frame, middle.stamp_ns)
    footprints = {name: footprint(cameras[name]) for name in cameras}
    evidence = Evidence(recording, base_frame, cameras, moments)
    findings = [
        *(Finding(Severity.warning, problem) for problem in recording.problems),
        *(Finding(Severity.warning, text) for moment in moments for text in moment.problems),
        *check_transforms(recording, base_frame),
        *unusable,
        *check_pictures(recording, moments),
        *check_infos(recording, cameras, moments),
        *check_stamps(recording),
        *check_directions(cameras),
        *check_coverage(cameras, footprints),
        *check_agreement(evidence),
    ]
    if not evidence.any_cloud:
        sentence = "no cloud to compare pictures with: only their names can reveal swapped or turned cameras"
        findings.append(Finding(Severity.note, sentence, doubt=True))
    pictures = {
        record.name: _picture(recording, record.name, cameras, middle, base_frame) for record in recording.cameras
    }
    bev = draw_footprints(cameras, footprints, middle.points)
    return RigReport(recording, cameras, evidence.given, merged(findings), pictures, bev)


def _picture(recording: Recording, name: str, cameras: dict, moment: Moment, base_frame: str) -> np.ndarray:
    view = moment.views.get(name)
    if view is None or name not in cameras:
        return draw_unusable(
            None if view is None else view.image, name, "no image" if view is None else "no calibration"
        )
    motion = recording.ego_motion(base_frame, view.stamp_ns, moment.stamp_ns)
    return draw_cloud(view.image, cameras[name], apply(motion, moment.points))
