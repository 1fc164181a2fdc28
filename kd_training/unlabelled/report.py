"""What a labelling came to: thresholds and labels by class as a table, calibration as a plot, and how true the labels
are where the truth is known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from kd_perception.atomic import write_bytes
from kd_training.unlabelled.calibration import precision_and_recall
from kd_training.unlabelled.judging import JudgedAnswers
from kd_training.unlabelled.labelling import Labelled
from kd_training.unlabelled.thresholds import NEVER, Thresholds

PLOT_FILE = "thresholds.png"
COLUMNS = 5  # of the plot


def thresholds_table(labelled: Labelled) -> Table:
    """One row a class: true boxes and answers on the scenes that calibrate; scores, as ClassThresholds has them; what
    they reach; whose velocity; and how many boxes were labelled."""
    table = Table(title="Thresholds of the teacher, and its labels", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", no_wrap=True)
    for column in ("true", "answers", "low", "confident", "sure", "prec.", "recall", "velocity", "labelled"):
        table.add_column(column, justify="right", no_wrap=True)
    for (name, entry), count in zip(labelled.thresholds.classes.items(), labelled.boxes, strict=True):
        scores = [_score(value) for value in (entry.low, entry.confident, entry.sure)]
        reached = [_share(value) for value in (entry.precision, entry.recall)]
        velocity = "track" if entry.velocity_from_track else "teacher"
        table.add_row(name, str(entry.truths), str(entry.answers), *scores, *reached, velocity, str(count))
    return table


def truth_table(judged: JudgedAnswers, thresholds: Thresholds) -> Table:
    """One row a class: precision and recall of the labels against the truth, with the tracker and without it."""
    table = Table(title="The labels against the truth (2 m)", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", no_wrap=True)
    for column in ("true", "prec. by score", "recall", "prec. with tracks", "recall", "unsure"):
        table.add_column(column, justify="right")
    for row in _truth_rows(judged, thresholds):
        table.add_row(*row)
    return table


def _truth_rows(judged: JudgedAnswers, thresholds: Thresholds) -> Iterator[tuple[str, ...]]:
    """By class; `unsure`: the share of the true boxes that are neither labelled nor taught as background."""
    boxes = judged.boxes
    alone = boxes.score >= thresholds.confident[boxes.label]
    accepted = thresholds.accepts(boxes, judged.length)
    kept = boxes.score >= np.where(thresholds.trusted, thresholds.low, 0.0)[boxes.label]
    for label, name in enumerate(boxes.classes.names):
        figures = [*precision_and_recall(judged, label, alone), *precision_and_recall(judged, label, accepted)]
        _, any_recall = precision_and_recall(judged, label, kept)
        unsure = None if any_recall is None else any_recall - figures[3]
        count = int((judged.truth_label == label).sum())
        yield name, str(count), *(_share(value) for value in (*figures, unsure))


def write_plot(path: Path, judged: JudgedAnswers, thresholds: Thresholds) -> None:
    """Precision and recall of every class over the score, with its thresholds as lines."""
    from matplotlib.figure import Figure

    names, scores = list(thresholds.classes), np.linspace(0.05, 0.95, 46)
    rows = -(-len(names) // COLUMNS)
    figure = Figure(figsize=(3.0 * COLUMNS, 2.4 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for label, (name, axis) in enumerate(zip(names, axes, strict=False)):
        curves = [precision_and_recall(judged, label, judged.boxes.score >= score) for score in scores]
        for line, text in zip(zip(*curves, strict=True), ("precision", "recall"), strict=True):
            axis.plot(scores, [np.nan if value is None else value for value in line], label=text)
        entry = thresholds.classes[name]
        for value, style in ((entry.low, ":"), (entry.confident, "-"), (entry.sure, "--")):
            if value < NEVER:
                axis.axvline(value, color="black", linestyle=style, linewidth=1.0)
        axis.set(title=f"{name} ({entry.truths})", xlim=(0.0, 1.0), ylim=(0.0, 1.02))
    for axis in axes[len(names) :]:
        axis.axis("off")
    axes[0].legend()
    figure.supxlabel("score; lines: low (dotted), confident (solid), sure (dashed)")
    write_bytes(path, _png(figure))


def _png(figure: object) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def _score(value: float) -> str:
    return "never" if value >= NEVER else f"{value:.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
