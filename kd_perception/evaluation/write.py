"""A finished run as a result folder: detections, metric, report, page and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kd_perception.atomic import write_text
from kd_perception.evaluation.metric import Metrics, evaluate_results
from kd_perception.evaluation.page import EvaluationPage, write_page
from kd_perception.evaluation.pictures import draw_samples, spread, write_pictures
from kd_perception.evaluation.report import by_stage
from kd_perception.evaluation.result_folder import (
    FOXGLOVE_FILE,
    PAGE_FILE,
    PICTURES_FOLDER,
    REPORT_FILE,
    RESULTS_FILE,
    SUMMARY_FILE,
    RunReport,
)
from kd_perception.evaluation.results import Results, write_results
from kd_perception.evaluation.viewed import write_foxglove
from kd_perception.geometry.classes import NUSCENES, ClassList

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

PICTURES = 4  # samples that are drawn


@dataclass(frozen=True)
class EvaluatedRun:
    """What a run over `scenes` gave: rows of the result file by sample, stage times (ms, one mapping a frame), report.

    `notes` stand below the page's title; `classes` are the detections'.
    """

    title: str
    scenes: Sequence[str]
    results: Results
    stages: Sequence[dict[str, float]]
    report: RunReport
    notes: Sequence[str] = ()
    classes: ClassList = NUSCENES


def write_evaluation(out: Path, nusc: "Tables", run: EvaluatedRun) -> Metrics:
    """Score a run and write its result folder. Raises DataError as `evaluate_results`, and for unreadable images."""
    write_results(out / RESULTS_FILE, run.results)
    metrics = evaluate_results(nusc, out / RESULTS_FILE, run.scenes, out / SUMMARY_FILE, classes=run.classes)
    pictures = draw_samples(nusc, run.results, spread(list(run.results), PICTURES), run.classes)
    write_pictures(out / PICTURES_FOLDER, pictures)
    write_foxglove(out / FOXGLOVE_FILE, nusc, run.results, run.classes)
    write_text(out / REPORT_FILE, run.report.to_json())
    page = EvaluationPage(run.title, run.report, metrics, by_stage(run.stages), pictures, run.notes)
    write_page(out / PAGE_FILE, page)
    return metrics
