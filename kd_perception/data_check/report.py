"""The report of `kd data check`: tables and sentences in the terminal, and a page with boxes on pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kd_perception.atomic import write_text
from kd_perception.data_check.labels import LabelArrays
from kd_perception.drawing.pages import render_page
from kd_perception.printable import printable
from kd_perception.rig_check.finding import Finding, Severity
from kd_perception.rig_check.report import MARKS

PAGE = "data_check.html"
LABEL_COLUMNS = ("category", "boxes", "tracks", "l w h m", "metres", "points", "0 pts", "m/s")
LABEL_LEGEND = "medians; metres: half, 90 % are nearer; 0 pts: the metric drops them"
CAMERA_COLUMNS = ("camera", "pictures", "size", "boxes in sight")
UNKNOWN = "-"


@dataclass(frozen=True)
class CameraSummary:
    """A camera: pictures in the tables, the sizes that they have, boxes whose centre is in sight."""

    name: str
    pictures: int
    sizes: Sequence[str]
    boxes: int


@dataclass(frozen=True)
class DataReport:
    """What is in a data set: its title, labels with their distances from ego (N,), cameras, findings and pictures."""

    title: str
    labels: LabelArrays
    distance: np.ndarray
    cameras: Sequence[CameraSummary]
    findings: Sequence[Finding]
    pictures: Mapping[str, np.ndarray]

    @property
    def bad(self) -> bool:
        """Whether a finding is an error."""
        return any(finding.severity is Severity.error for finding in self.findings)

    def label_rows(self) -> list[tuple[str, ...]]:
        """One row of LABEL_COLUMNS per category."""
        return [self._label_row(category) for category in self.labels.categories]

    def camera_rows(self) -> list[tuple[str, ...]]:
        """One row of CAMERA_COLUMNS per camera."""
        return [
            (camera.name, f"{camera.pictures}", ", ".join(camera.sizes[:2]), f"{camera.boxes}")
            for camera in self.cameras
        ]

    def _label_row(self, category: str) -> tuple[str, ...]:
        chosen = self.labels.category == category
        labels, distance = self.labels[chosen], self.distance[chosen]
        known = labels.points >= 0
        moving = labels.speed[labels.speed > 1.0]
        return (
            category,
            f"{len(labels)}",
            f"{len(set(labels.track))}",
            " ".join(f"{value:.1f}" for value in np.median(labels.size, axis=0)),
            f"{np.median(distance):.0f} {np.quantile(distance, 0.9):.0f}",
            f"{np.median(labels.points[known]):.0f}" if known.any() else UNKNOWN,
            f"{(labels.points[known] == 0).mean():.0%}" if known.any() else UNKNOWN,
            f"{np.median(moving):.1f}" if len(moving) else UNKNOWN,
        )


def print_report(report: DataReport, console: Console) -> None:
    """Print the tables and the sentences."""
    _print_table(console, report.title, LABEL_COLUMNS, report.label_rows(), LABEL_LEGEND)
    _print_table(console, "", CAMERA_COLUMNS, report.camera_rows(), "")
    for finding in report.findings:
        sentence = escape(printable(finding.sentence))
        console.print(f"{MARKS[finding.severity]}: {sentence}", highlight=False, soft_wrap=True)
    if not any(finding.severity is not Severity.note for finding in report.findings):
        console.print("[green]no mistake was found[/]")


def write_report(report: DataReport, folder: Path) -> Path:
    """Write the page into `folder`; returns its path."""
    page = render_page(
        "data_check.html",
        title=report.title,
        findings=report.findings,
        tables=((LABEL_COLUMNS, report.label_rows(), LABEL_LEGEND), (CAMERA_COLUMNS, report.camera_rows(), "")),
        pictures=report.pictures,
    )
    write_text(folder / PAGE, page)
    return folder / PAGE


def _print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], legend: str
) -> None:
    if not rows:
        return
    table = Table(
        title=escape(printable(title)) or None,
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption=legend or None,
    )
    for index, name in enumerate(columns):
        table.add_column(name, justify="left" if index == 0 else "right", overflow="fold" if index == 0 else "ignore")
    for row in rows:
        table.add_row(*(escape(printable(cell)) for cell in row))
    console.print(table)
