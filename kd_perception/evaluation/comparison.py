"""`kd compare`: what several result files find, miss and invent of the same truth, in a table and side by side in
pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from kd_perception.atomic import write_bytes
from kd_perception.datasets.nuscenes import load_frame, open_nuscenes
from kd_perception.drawing.bird_eye import draw_bev
from kd_perception.drawing.cameras import camera_grid, caption, encode_image
from kd_perception.errors import ConfigError, DataError
from kd_perception.evaluation.metric import counted
from kd_perception.evaluation.pictures import (
    DRAWN_SCORE,
    Surroundings,
    draw_cameras,
    load_surroundings,
    seen_truth,
    spread,
)
from kd_perception.evaluation.results import Results, boxes_of_result, read_results
from kd_perception.geometry.boxes import Boxes
from kd_perception.named_files import named_files

if TYPE_CHECKING:
    from nuscenes import NuScenes

FOUND_M = 2.0  # metres between centres: the distance at which the metric takes its errors
LEAST_PANELS = 3  # below a row of three cameras


class Match(NamedTuple):
    """Which boxes of the truth (T,) were found, and which detections (N,) found one; bool."""

    found: np.ndarray
    hits: np.ndarray


def match(detections: Boxes, truth: Boxes) -> Match:
    """As the nuScenes metric (arXiv:1903.11027) matches: best score first, each detection takes the nearest box of its
    class that is free, if its centre is nearer than FOUND_M on the ground."""
    found, hits = np.zeros(len(truth), bool), np.zeros(len(detections), bool)
    distance = np.linalg.norm(detections.center[:, None, :2] - truth.center[None, :, :2], axis=-1)
    distance[detections.label[:, None] != truth.label[None]] = np.inf
    for index in np.argsort(-detections.score, kind="stable"):
        free = np.where(found, np.inf, distance[index])
        if len(free) and free.min() < FOUND_M:
            found[free.argmin()] = hits[index] = True
    return Match(found, hits)


def counted_truth(nusc: "NuScenes", token: str, global_from_ego: np.ndarray) -> Boxes:
    """A sample's truth in ego: boxes that have points and are in range."""
    return counted(seen_truth(nusc, token, global_from_ego))


@dataclass(frozen=True)
class Tally:
    """All detections of a result file: scores (N,), whether each found a box (N,), and how many boxes there are."""

    name: str
    scores: np.ndarray
    hits: np.ndarray
    truths: int

    def found(self, score: float) -> int:
        """Boxes found by detections from that score on."""
        return int((self.hits & (self.scores >= score)).sum())

    def false(self, score: float) -> int:
        """Detections from that score on that found none."""
        return int((~self.hits & (self.scores >= score)).sum())

    def score_at(self, recall: float) -> float:
        """The highest score that finds that share of the boxes; raises ConfigError if none does."""
        finders = np.sort(self.scores[self.hits])[::-1]
        wanted = max(1, int(np.ceil(recall * self.truths)))
        if wanted > len(finders):
            raise ConfigError(
                f"--recall {recall:g} is more than {self.name} finds ({len(finders)} of {self.truths} boxes); "
                "ask for less"
            )
        return float(finders[wanted - 1])


def draw_comparison(around: Surroundings, answers: Mapping[str, Boxes]) -> np.ndarray:
    """One picture (h, w, 3) of a sample: the cameras with the last of `answers` over truth; below them a bird's-eye
    view of each by its name, what it missed in red, and of the truth. Boxes in ego."""
    drawn = {name: counted(boxes) for name, boxes in answers.items()}
    cameras = camera_grid(draw_cameras(around, list(drawn.values())[-1]))
    truth = counted(around.truth)
    size = cameras.shape[1] // max(LEAST_PANELS, len(drawn) + 1)
    panels = []
    for name, boxes in drawn.items():
        found, hits = match(boxes, truth)
        panel = draw_bev(boxes, ground_truth=truth, points=around.cloud, size=size, missed=~found)
        caption(panel, f"{name}: {found.sum()} of {len(found)} found, {(~hits).sum()} false")
        panels.append(panel)
    panels.append(draw_bev(truth, points=around.cloud, size=size))
    caption(panels[-1], "truth")
    row = np.hstack(panels)
    rest = cameras.shape[1] - row.shape[1]
    return np.vstack([cameras, np.pad(row, ((0, 0), (0, rest), (0, 0)))])


def compare(
    files: Annotated[list[str], typer.Argument(metavar="NAME=FILE...", help="Result files (results.json), by name.")],
    dataroot: Annotated[Path, typer.Option(help="Folder of the data set: holds samples/ and the tables' folder.")],
    version: Annotated[str, typer.Option(help="Name of the tables' folder, e.g. v1.0-mini.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")],
    score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Detections with a lower score are left out.")
    ] = DRAWN_SCORE,
    recall: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Instead of --score: cut every file where it finds this share; 0: do not."),
    ] = 0.0,
    frames: Annotated[int, typer.Option(min=0, help="Pictures, of samples evenly over the results.")] = 4,
    sample: Annotated[list[str] | None, typer.Option(help="Draw this sample (token) instead; repeat for more.")] = None,
) -> None:
    """Show side by side what several result files find, miss and invent of the same truth."""
    results = {name: read_results(path) for name, path in named_files(files, "kd compare").items()}
    tokens = common_samples(results)
    for token in sample or ():
        if token not in tokens:
            raise ConfigError(f"--sample {token} is not in every result file; choose one that is")
    nusc = open_nuscenes(dataroot, version)
    console = Console()
    tallies = tally(nusc, results, tokens)
    scores = {name: counts.score_at(recall) if recall else score for name, counts in tallies.items()}
    console.print(counts_table(tallies, scores, len(tokens)))
    for number, token in enumerate(sample or spread(tokens, frames)):
        around = load_surroundings(nusc, token)
        global_from_ego = around.frame.global_from_ego
        boxes = {name: boxes_of_result(found[token], global_from_ego) for name, found in results.items()}
        answers = {name: each[each.score >= scores[name]] for name, each in boxes.items()}
        path = out / f"{number:02d}_{around.frame.scene}.jpg"
        write_bytes(path, encode_image(draw_comparison(around, answers)))
        console.print(f"wrote [bold]{path}[/bold] (sample {token})")


def common_samples(results: Mapping[str, Results]) -> list[str]:
    """Tokens that every result file has, in the first one's order; raises DataError without one."""
    first, *others = results.values()
    tokens = [token for token in first if all(token in other for other in others)]
    if not tokens:
        raise DataError(f"the result files {', '.join(results)} have no sample in common; they are of other data sets")
    return tokens


def tally(nusc: "NuScenes", results: Mapping[str, Results], tokens: Sequence[str]) -> dict[str, Tally]:
    """Every result file's detections on those samples, matched; in their whole range of scores, because what a better
    score takes does not depend on worse ones."""
    scores: dict[str, list[np.ndarray]] = {name: [] for name in results}
    hits: dict[str, list[np.ndarray]] = {name: [] for name in results}
    truths = 0
    for token in track(tokens, description="matching", transient=True):
        frame = load_frame(nusc, token)
        truth = counted_truth(nusc, token, frame.global_from_ego)
        truths += len(truth)
        for name, found in results.items():
            boxes = counted(boxes_of_result(found[token], frame.global_from_ego))
            scores[name].append(boxes.score)
            hits[name].append(match(boxes, truth).hits)
    return {name: Tally(name, np.concatenate(scores[name]), np.concatenate(hits[name]), truths) for name in results}


def counts_table(tallies: Mapping[str, Tally], scores: Mapping[str, float], samples: int) -> Table:
    """Found, missed and false boxes of every result file from its score on, for the terminal."""
    table = Table(title=f"{samples} samples, centres within {FOUND_M:g} m")
    for column in ("", "scores from", "found", "missed", "false"):
        table.add_column(column, justify="right" if column else "left")
    for name, counts in tallies.items():
        found = counts.found(scores[name])
        row = (f"{scores[name]:.3f}", found, counts.truths - found, counts.false(scores[name]))
        table.add_row(name, *map(str, row))
    return table
