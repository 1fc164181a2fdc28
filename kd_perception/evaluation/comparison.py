"""`kd compare`: what several result files find, miss and invent of the same ground truth, as a table and pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kd_perception.atomic import write_bytes
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes
from kd_perception.datasets.rigs import ANCHOR_HELP, check_anchor
from kd_perception.drawing.bird_eye import draw_bev
from kd_perception.drawing.cameras import camera_grid, caption, encode_image
from kd_perception.drawing.style import DRAWN_SCORE
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.metric import counted
from kd_perception.evaluation.pictures import (
    Surroundings,
    draw_cameras,
    load_surroundings,
    seen_ground_truth,
    spread,
)
from kd_perception.evaluation.result_folder import RESULTS_FILE
from kd_perception.evaluation.results import Results, boxes_of_result, read_results
from kd_perception.geometry.boxes import Boxes
from kd_perception.geometry.classes import CLASSES_HELP, NUSCENES, ClassList
from kd_perception.geometry.matching import FOUND_M, match
from kd_perception.named_files import named_files
from kd_perception.student.classes import chosen_classes

if TYPE_CHECKING:
    from kd_perception.datasets.tables import Tables

LEAST_PANELS = 3  # below a row of three cameras


def counted_ground_truth(
    nusc: "Tables", token: str, global_from_ego: np.ndarray, classes: ClassList = NUSCENES
) -> Boxes:
    """A sample's ground truth in ego: boxes that have points and are in range."""
    return counted(seen_ground_truth(nusc, token, global_from_ego, classes))


@dataclass(frozen=True)
class Tally:
    """All detections of a result file: scores (N,), whether each found a box (N,), and how many boxes there are."""

    name: str
    scores: np.ndarray
    hits: np.ndarray
    ground_truths: int

    def found(self, score: float) -> int:
        """Boxes found by detections from that score on."""
        return int((self.hits & (self.scores >= score)).sum())

    def false(self, score: float) -> int:
        """Detections from that score on that found no box."""
        return int((~self.hits & (self.scores >= score)).sum())

    def score_at(self, recall: float) -> float:
        """The highest score threshold at which this share of the boxes is found; ConfigError if none reaches it."""
        finders = np.sort(self.scores[self.hits])[::-1]
        wanted = max(1, int(np.ceil(recall * self.ground_truths)))
        if wanted > len(finders):
            raise ConfigError(
                f"--recall {recall:g} is more than {self.name} finds ({len(finders)} of {self.ground_truths} boxes); "
                "give a lower recall"
            )
        return float(finders[wanted - 1])


def draw_comparison(around: Surroundings, detections: Mapping[str, Boxes]) -> np.ndarray:
    """One picture (h, w, 3) of a sample; `detections` by name, boxes in ego.

    The cameras show the last detections over ground truth. Below them stands a bird's-eye view of each, missed boxes in
    red, and one of the ground truth.
    """
    drawn = {name: counted(boxes) for name, boxes in detections.items()}
    cameras = camera_grid(draw_cameras(around, list(drawn.values())[-1]))
    ground_truth = counted(around.ground_truth)
    size = cameras.shape[1] // max(LEAST_PANELS, len(drawn) + 1)
    panels = []
    for name, boxes in drawn.items():
        found, hits, _ = match(boxes, ground_truth)
        panel = draw_bev(boxes, ground_truth=ground_truth, points=around.cloud, size=size, missed=~found)
        caption(panel, f"{name}: {found.sum()} of {len(found)} found, {(~hits).sum()} false")
        panels.append(panel)
    panels.append(draw_bev(ground_truth, points=around.cloud, size=size))
    caption(panels[-1], "ground truth")
    row = np.hstack(panels)
    rest = cameras.shape[1] - row.shape[1]
    return np.vstack([cameras, np.pad(row, ((0, 0), (0, rest), (0, 0)))])


def compare(
    *,
    files: Annotated[
        list[str], typer.Argument(metavar="NAME=FILE...", help=f"Result files ({RESULTS_FILE}), each with a name.")
    ],
    dataroot: Annotated[Path, typer.Option(help="Folder of the data set: holds samples/ and the tables' folder.")],
    version: Annotated[str, typer.Option(help="Name of the tables' folder, e.g. v1.0-mini.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Score threshold: detections below it are not counted.")
    ] = DRAWN_SCORE,
    recall: Annotated[
        float,
        typer.Option(
            min=0.0, max=1.0, help="Compare at equal recall: each file gets its own threshold. 0 uses --score."
        ),
    ] = 0.0,
    classes: Annotated[Path | None, typer.Option(help=CLASSES_HELP)] = None,
    anchor: Annotated[str, typer.Option(help=ANCHOR_HELP)] = "",
    frames: Annotated[int, typer.Option(min=0, help="Number of pictures, of samples spread evenly.")] = 4,
    sample: Annotated[list[str] | None, typer.Option(help="Draw this sample (token) instead; repeatable.")] = None,
) -> None:
    """Compare result files: what each finds, misses and invents of the same ground truth, as a table and pictures."""
    results = {name: read_results(path) for name, path in named_files(files, "kd compare").items()}
    tokens = common_samples(results)
    for token in sample or ():
        if token not in tokens:
            raise ConfigError(f"--sample {token} is not in every result file; choose one that is")
    kinds = chosen_classes(classes)
    nusc = open_nuscenes(dataroot, version, anchor)
    check_anchor(anchor, [nusc])
    check_foreign(nusc, results, kinds)
    console = Console()
    tallies = tally(nusc, results, tokens, kinds)
    thresholds = {name: counts.score_at(recall) if recall else score for name, counts in tallies.items()}
    console.print(counts_table(tallies, thresholds, len(tokens)))
    for number, token in enumerate(sample or spread(tokens, frames)):
        around = load_surroundings(nusc, token, kinds)
        global_from_ego = around.frame.global_from_ego
        boxes = {name: boxes_of_result(rows[token], global_from_ego, kinds) for name, rows in results.items()}
        shown = {name: each[each.score >= thresholds[name]] for name, each in boxes.items()}
        path = out / f"{number:02d}_{around.frame.scene}.jpg"
        write_bytes(path, encode_image(draw_comparison(around, shown)))
        console.print(f"wrote [bold]{path}[/bold] (sample {token})")


def check_foreign(nusc: "Tables", results: Mapping[str, Results], classes: ClassList) -> None:
    """Raise DataError naming the first sample that the tables lack, and the first class that the list lacks."""
    known = {row["token"] for row in nusc.sample}
    for name, rows_of in results.items():
        unknown = [token for token in rows_of if token not in known]
        if unknown:
            raise DataError(
                f"{len(unknown)} of {len(rows_of)} samples of {name} are not in {nusc.dataroot} {nusc.version}, the "
                f"first is {unknown[0]}; give the data set and version that the file is of"
            )
        found = {row["detection_name"] for rows in rows_of.values() for row in rows} - set(classes.names)
        if found:
            raise DataError(
                f"{name} has boxes of {', '.join(sorted(found))}, but the classes are {', '.join(classes.names)}; give "
                "the file's class list with --classes"
            )


def common_samples(results: Mapping[str, Results]) -> list[str]:
    """Tokens that every result file has, in the first one's order; raises DataError if no token is in all."""
    first, *others = results.values()
    tokens = [token for token in first if all(token in other for other in others)]
    if not tokens:
        raise DataError(f"the result files {', '.join(results)} have no sample in common; give files of one data set")
    return tokens


def tally(
    nusc: "Tables", results: Mapping[str, Results], tokens: Sequence[str], classes: ClassList = NUSCENES
) -> dict[str, Tally]:
    """Match every result file's detections on these samples, at all scores.

    A threshold applied later gives the same matches: a detection's match does not depend on lower scores.
    """
    scores: dict[str, list[np.ndarray]] = {name: [] for name in results}
    hits: dict[str, list[np.ndarray]] = {name: [] for name in results}
    ground_truths = 0
    for token in track(tokens, description="matching", transient=True):
        frame = load_frame(nusc, token)
        ground_truth = counted_ground_truth(nusc, token, frame.global_from_ego, classes)
        ground_truths += len(ground_truth)
        for name, rows in results.items():
            boxes = counted(boxes_of_result(rows[token], frame.global_from_ego, classes))
            scores[name].append(boxes.score)
            hits[name].append(match(boxes, ground_truth).hits)
    return {
        name: Tally(name, np.concatenate(scores[name]), np.concatenate(hits[name]), ground_truths) for name in results
    }


def counts_table(tallies: Mapping[str, Tally], thresholds: Mapping[str, float], samples: int) -> Table:
    """Found, missed and false boxes of every result file from its score threshold on, for the terminal."""
    table = Table(title=f"{samples} samples, centres within {FOUND_M:g} m")
    for column in ("", "score from", "found", "missed", "false"):
        table.add_column(column, justify="right" if column else "left")
    for name, counts in tallies.items():
        threshold = thresholds[name]
        found = counts.found(threshold)
        row = (f"{threshold:.3f}", found, counts.ground_truths - found, counts.false(threshold))
        table.add_row(name, *map(str, row))
    return table
