"""The report of `kd rig check`: a table and sentences in the terminal, and a page with pictures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

from kd_perception.atomic import write_bytes, write_text
from kd_perception.drawing.cameras import encode_image
from kd_perception.drawing.pages import render_page
from kd_perception.errors import ConfigError
from kd_perception.geometry.camera import Camera
from kd_perception.printable import printable
from kd_perception.rig_check.evidence import FITS
from kd_perception.rig_check.finding import Finding, Severity
from kd_perception.rig_check.recording import Recording
from kd_perception.rig_check.timing import anchor_of, offsets_s

PAGE = "rig_check.html"
COLUMNS = ("camera", "n", "size", "lens", "looks at °", "ms", "fit", "")
UNSURE = "?"
LEGEND = (
    "n: images; looks at: yaw, pitch, roll; ms: from the anchor's images; fit: agreement with the cloud, good from "
    f"{FITS:g}; {UNSURE}: cannot tell"
)
LENSES = {"none": "ideal", "rational_polynomial": "rational", "equidistant": "fisheye"}  # short, for the table
COLORS = {"ok": "green", "warning": "yellow", "error": "red", UNSURE: "cyan"}
MARKS = {Severity.error: "[bold red]error[/]", Severity.warning: "[yellow]warning[/]", Severity.note: "[cyan]note[/]"}


@dataclass(frozen=True)
class RigReport:
    """Usable cameras, their agreements with the cloud, findings, and pictures by camera name."""

    recording: Recording
    cameras: Mapping[str, Camera]
    agreements: Mapping[str, float]
    findings: Sequence[Finding]
    pictures: Mapping[str, np.ndarray]
    footprints: np.ndarray

    @property
    def bad(self) -> bool:
        """Whether a finding is an error."""
        return any(finding.severity is Severity.error for finding in self.findings)


def table_rows(report: RigReport) -> list[tuple[str, ...]]:
    """One row of COLUMNS per camera."""
    rows = []
    anchor = anchor_of(report.recording)
    for record in report.recording.cameras:
        camera = report.cameras.get(record.name)
        offsets = offsets_s(record, anchor)
        fit = report.agreements.get(record.name, np.nan)
        rows.append((
            record.name,
            f"{len(record.stamps_ns)}",
            f"{camera.width}x{camera.height}" if camera else "-",
            _lens(camera) if camera else "-",
            "{:.0f} {:.0f} {:.0f}".format(*_angles(camera)) if camera else "-",
            f"{1e3 * np.median(offsets):+.0f}" if len(offsets) else "-",
            f"{fit:.1f}" if np.isfinite(fit) else "-",
            _verdict(report, record.name, fit),
        ))  # fmt: skip
    return rows


def _verdict(report: RigReport, name: str, fit: float) -> str:
    """The worst finding about a camera, UNSURE where its pictures prove nothing, else 'ok'."""
    about = [finding for finding in report.findings if name in finding.cameras]
    worst = next((s.value for s in (Severity.error, Severity.warning) if s in {f.severity for f in about}), "")
    if worst:
        return worst
    return "ok" if fit >= FITS and not any(finding.doubt for finding in about) else UNSURE


def print_report(report: RigReport, console: Console) -> None:
    """Print the table and the sentences."""
    table = Table(
        title=escape_markup(printable(f"cameras of {report.recording.path.name}")),
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption=LEGEND,
    )
    for index, column in enumerate(COLUMNS):  # a long camera name is broken, so that 80 columns will do
        table.add_column(column, justify="left" if index in (0, 3, 7) else "right", no_wrap=index > 0, overflow="fold")
    for row in table_rows(report):
        table.add_row(*(escape_markup(printable(cell)) for cell in row[:-1]), f"[{COLORS[row[-1]]}]{row[-1]}[/]")
    console.print(table)
    for finding in report.findings:
        sentence = escape_markup(printable(finding.sentence))
        console.print(f"{MARKS[finding.severity]}: {sentence}", highlight=False, soft_wrap=True)
    if not any(finding.severity is not Severity.note for finding in report.findings):
        console.print("[green]no mistake was found[/]")


def write_report(report: RigReport, folder: Path) -> Path:
    """Write the page and its pictures into `folder`; returns the page's path. Raises ConfigError if it is no folder."""
    if blocking := next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None):
        raise ConfigError(f"{blocking} is a file, so {folder} cannot be a folder for the report; choose another --out")
    for name, picture in report.pictures.items():
        write_bytes(folder / f"{_file_stem(name)}.jpg", encode_image(picture))
    write_bytes(folder / "footprints.png", encode_image(report.footprints, ".png"))
    page = render_page(
        "rig_check.html",
        title=f"Cameras of {report.recording.path.name}",
        findings=report.findings,
        columns=COLUMNS,
        rows=table_rows(report),
        legend=LEGEND,
        pictures=report.pictures,
        footprints=report.footprints,
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _file_stem(name: str) -> str:
    """A camera's name as part of a file's name."""
    return re.sub(r"[^\w.-]", "_", name)


def _lens(camera: Camera) -> str:
    """Distortion model and the angle from the left to the right border of the picture."""
    model = LENSES.get(camera.distortion_model, camera.distortion_model)
    middle = camera.intrinsics[1, 2]
    rays = camera.unproject(np.array([[0.5, middle], [camera.width - 0.5, middle]]))
    if not np.isfinite(rays).all():
        return f"{model} <{2 * np.degrees(camera.lens.max_angle):.0f}°"
    angle = np.degrees(np.arccos(np.clip(rays[:, 2], -1.0, 1.0)).sum())
    return f"{model} {angle:.0f}°"


def _angles(camera: Camera) -> tuple[float, float, float]:
    """Degrees: yaw of the optical axis to the left of x, its pitch above the horizon, roll clockwise of upright."""
    forward, up = camera.ego_from_camera[:3, 2], camera.ego_from_camera[2, :3]
    yaw, pitch = np.arctan2(forward[1], forward[0]), np.arcsin(np.clip(forward[2], -1.0, 1.0))
    roll = np.arctan2(-up[0], -up[1])
    return tuple(float(value) + 0.0 for value in np.round(np.degrees([yaw, pitch, roll])))
