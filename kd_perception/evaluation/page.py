"""The page of an evaluation: scores, pictures and latency in one file, from the template evaluation.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kd_perception.atomic import write_text
from kd_perception.drawing.pages import render_page
from kd_perception.drawing.style import DRAWN_SCORE
from kd_perception.evaluation.metric import Metrics
from kd_perception.evaluation.pictures import SamplePicture
from kd_perception.evaluation.plots import latency_svg
from kd_perception.evaluation.report import PERCENTILES
from kd_perception.evaluation.result_folder import RunReport
from kd_perception.evaluation.table import CLASS_COLUMNS, class_cells


@dataclass(frozen=True)
class EvaluationPage:
    """What the page shows; `stages` are milliseconds a frame, by stage, for the plot; `notes` stand below the title."""

    title: str
    report: RunReport
    metrics: Metrics
    stages: Mapping[str, Sequence[float]]
    pictures: Sequence[SamplePicture]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class _ClassRow:
    name: str
    color: str
    has_ground_truth: bool
    cells: tuple[str, ...]


def write_page(path: Path, page: EvaluationPage) -> None:
    """Write the page atomically."""
    report = page.report
    text = render_page(
        "evaluation.html",
        title=page.title,
        facts={"model": report.model, "engine": report.engine, "commit": report.commit},
        notes=page.notes,
        tiles=_tiles(report, page.metrics),
        drawn_score=DRAWN_SCORE,
        pictures=page.pictures,
        class_columns=("class", *CLASS_COLUMNS),
        class_rows=_class_rows(page.metrics),
        latency_plot=latency_svg(page.stages) if any(len(times) for times in page.stages.values()) else "",
        percentiles=PERCENTILES,
        latency=report.latency_ms,
    )
    write_text(path, text)


def _tiles(report: RunReport, metrics: Metrics) -> dict[str, str | int]:
    total = report.latency_ms.get("total", {}).get("p50")
    return {
        "mAP": f"{metrics.mean_ap:.3f}",
        "NDS": f"{metrics.nds:.3f}",
        "frames in": report.frames_in,
        "processed": report.frames_answered,
        "dropped": report.frames_dropped,
        "median total": "-" if total is None else f"{total:.0f} ms",
    }


def _class_rows(metrics: Metrics) -> list[_ClassRow]:
    return [
        _ClassRow(
            name=kind.name.replace("_", " "),
            color="#{:02x}{:02x}{:02x}".format(*kind.color),
            has_ground_truth=metrics.classes[kind.name].ground_truths > 0,
            cells=class_cells(metrics.classes[kind.name]),
        )
        for kind in metrics.class_list.classes
    ]
