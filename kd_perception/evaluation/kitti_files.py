"""Folders of KITTI's label and result files, one text file a frame, and the AP of one against the other."""

import json
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kd_perception.atomic import write_text
from kd_perception.datasets.kitti_labels import DONT_CARE, KINDS, KittiObject, read_labels, read_results
from kd_perception.errors import DataError
from kd_perception.evaluation.kitti_ap import LEVELS, KittiScore, LevelScore, ScoredKittiFrame, kitti_ap


def score_folders(labels: Path, results: Path, names: Sequence[str] = ()) -> list[KittiScore]:
    """AP of the frames `names`, or of all that have labels.

    A frame without detections has an empty result file. Raises DataError for missing or foreign files, a row that is
    none, and a class that KITTI does not know.
    """
    pairs = _pairs(labels, results, names)
    return kitti_ap([_frame(*pair) for pair in pairs])


def print_scores(scores: Sequence[KittiScore], out: Path | None) -> None:
    """Print the table, and write its figures as JSON into `out`; nothing where nothing was scored."""
    if not scores:
        return
    if out is not None:
        write_text(out, json.dumps(scores_as_json(scores), indent=2))
    Console().print(kitti_table(scores))


def kitti_table(scores: Sequence[KittiScore]) -> Table:
    """One row a class and measure, one column a level; a star marks what few objects keep from reaching 100."""
    caption = "AP in percent at 40 recall points; in brackets the objects that count"
    if any(0 < level.objects and level.attainable < 100.0 for score in scores for level in score.levels):
        caption += "\n* n objects, fewer than 41, reach (n - 1) / 40 at most"
    table = Table(title="KITTI object detection", caption=caption, box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("class", no_wrap=True)
    table.add_column("measure", no_wrap=True)
    table.add_column("IoU", justify="right", no_wrap=True)
    for level in LEVELS:
        table.add_column(level.name, justify="right", no_wrap=True)
    for score in scores:
        cells = (score.kind.name, score.measure, f"{score.kind.overlap:.1f}", *map(_cell, score.levels))
        table.add_row(*cells, style="" if score.levels[-1].objects else "dim")
    return table


def scores_as_json(scores: Sequence[KittiScore]) -> list[dict]:
    """The table's rows; AP is null where no object counts."""
    names = [level.name for level in LEVELS]
    return [
        {
            "class": score.kind.name,
            "measure": score.measure,
            "iou": score.kind.overlap,
            "ap": dict(zip(names, (level.ap if level.objects else None for level in score.levels), strict=True)),
            "objects": dict(zip(names, (level.objects for level in score.levels), strict=True)),
        }
        for score in scores
    ]


def _cell(level: LevelScore) -> str:
    if not level.objects:
        return "- (0)"
    return f"{level.ap:.2f}{'*' if level.attainable < 100.0 else ''} ({level.objects})"


def _pairs(labels: Path, results: Path, names: Sequence[str]) -> list[tuple[Path, Path]]:
    """The label and the result file of each frame."""
    for folder in (labels, results):
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder; give one of text files, one a frame, e.g. 000000.txt")
    chosen = sorted(names or (path.stem for path in labels.glob("*.txt")))
    if not chosen:
        raise DataError(f"{labels} has no label file; give KITTI's label_2, e.g. with 000000.txt")
    _check_present(labels, chosen, "label", "restore them")
    _check_present(results, chosen, "result", "write an empty file where nothing was found")
    foreign = sorted({path.stem for path in results.glob("*.txt")} - set(chosen)) if not names else []
    if foreign:
        raise DataError(
            f"{len(foreign)} result files in {results} have no labels in {labels}, the first is {foreign[0]}.txt; give "
            "the labels of the same frames, or name the frames to score with --frames"
        )
    return [(labels / f"{name}.txt", results / f"{name}.txt") for name in chosen]


def _check_present(folder: Path, names: Sequence[str], kind: str, remedy: str) -> None:
    missing = [name for name in names if not (folder / f"{name}.txt").is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} frames have no {kind} file in {folder}, the first is {missing[0]}.txt; "
            f"{remedy}, or name the frames to score with --frames"
        )


def _frame(label_file: Path, result_file: Path) -> ScoredKittiFrame:
    labels, results = read_labels(label_file), read_results(result_file)
    _check_kinds(label_file, labels, (*KINDS, DONT_CARE))
    _check_kinds(result_file, results, KINDS)
    return ScoredKittiFrame(labels, results)


def _check_kinds(path: Path, rows: Sequence[KittiObject], known: Sequence[str]) -> None:
    for row in rows:
        if row.kind not in known:
            raise DataError(f"{path} names the class '{row.kind}'; KITTI's are {', '.join(known)}")
