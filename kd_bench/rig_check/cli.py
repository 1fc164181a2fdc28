"""`kd bench rigcheck`: mistakes planted in real and rendered recordings, and what `kd rig check` says of them."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from time import process_time
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from kd_bench.options import ReportFile
from kd_bench.rig_check.plants import Planted, plants
from kd_bench.rig_check.recordings import BASE_FRAME, MOMENTS, Healthy, RenderedStreets, real_recordings
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.atomic import write_text
from kd_perception.rig_check.command import examine
from kd_perception.rig_check.finding import Finding, Severity

HEADINGS = ("planted", "cases", "named rightly", "cannot tell", "wrongly named")
CHOOSING_SEED = 4100  # streets on which thresholds were chosen; the others are only reported
METHOD = """*named rightly*: the one sentence about pictures and cloud names the planted mistake and its cameras; for
*none*, a covered lens and a thinned cloud: no mistake is named at all. *cannot tell*: no mistake is named, at most that
pictures do not fit. *wrongly named*: any other mistake is named, or a camera that is innocent. Of a recording that is
wrong from the start (*none*) any warning counts. Cameras, directions and angles are drawn. What geometry and stamps
reveal without pictures (a camera that looks up, a clock against recording times) is not counted here."""


class Judgement(StrEnum):
    """How a verdict compares with what was planted."""

    right = "named rightly"
    unsure = "cannot tell"
    wrong = "wrongly named"


@dataclass(frozen=True)
class Result:
    """One planted mistake in one recording, and the verdict. real: whether the recording is of the real world."""

    recording: str
    planted: str
    outcome: Judgement
    sentences: tuple[str, ...]
    chosen_on: bool
    real: bool


def rigcheck(
    *,
    out: Annotated[Path, typer.Option(help="Folder of rendered streets, kept between runs.")] = Path(
        "out/bench/rigcheck"
    ),
    real: Annotated[
        Path | None, typer.Option(help="Folder of real frames: nuscenes-real, ddad-real, kitti-real.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the streets that are reported.")] = 7300,
    choosing: Annotated[
        bool, typer.Option("--choosing/--no-choosing", help="Also the streets thresholds were chosen on, as they are.")
    ] = True,
    scenes: Annotated[int, typer.Option(min=1, help="Recordings of each of the four rendered rigs.")] = 3,
    frames: Annotated[int, typer.Option(min=1, help="Keyframes of each rendered recording.")] = 6,
    report: ReportFile = None,
) -> None:
    """Plant mistakes in healthy recordings and count what the check names rightly, leaves open or names wrongly."""
    console, streets = Console(), RenderedStreets(out, scenes, frames, seed)
    chosen_on = RenderedStreets(out, scenes, frames, CHOOSING_SEED).recordings() if choosing else ()
    recordings = chain(real_recordings(real, out) if real is not None else (), chosen_on, streets.recordings())
    results: list[Result] = []
    for healthy in recordings:
        cases = plants(healthy, np.random.default_rng(seed))
        results += _judged(healthy, islice(cases, 1) if str(CHOOSING_SEED) in healthy.name else cases, console)
        facts = {
            "streets": f"seed {seed}, {scenes} of each rig, {frames} keyframes, of which {MOMENTS} are looked at",
            "thresholds chosen on": f"streets of seed {CHOOSING_SEED} (no part of the first table) and nuscenes-real",
            "time": f"{process_time():.0f} s of one core",
        }
        if report is not None:  # after each recording: a run that is stopped leaves what it has
            _write(report, results, facts)
    shown = [result for result in results if not result.chosen_on]
    console.print(terminal_table("kd rig check, planted mistakes", HEADINGS, _rows(shown)))


def _judged(healthy: Healthy, cases: Iterable[Planted], console: Console) -> list[Result]:
    """The verdicts on one recording; wrong ones are printed."""
    found = [_judge(healthy, planted) for planted in cases]
    counts = Counter(result.outcome for result in found)
    console.print(f"{healthy.name}: {', '.join(f'{counts[outcome]} {outcome}' for outcome in Judgement)}")
    for result in found:
        if result.outcome is Judgement.wrong:
            console.print(f"  {result.planted}: {' '.join(result.sentences)}", soft_wrap=True, markup=False)
    return found


def _judge(healthy: Healthy, planted: Planted) -> Result:
    """What the check says of a recording, against what was planted."""
    findings = examine(planted.recording, planted.moments, BASE_FRAME).findings
    accusing = [one for one in findings if one.severity is not Severity.note]
    named = [one for one in accusing if one.mistake is not None]
    if planted.name == "none":
        outcome = Judgement.wrong if accusing else Judgement.right
    elif any(not _allowed(one, planted) for one in accusing):
        outcome = Judgement.wrong
    else:
        outcome = Judgement.right if named or not planted.allowed else Judgement.unsure
    synthetic = str(CHOOSING_SEED) in healthy.name
    sentences = tuple(one.sentence for one in accusing)
    return Result(healthy.name, planted.name, outcome, sentences, synthetic, " " not in healthy.name)


def _allowed(finding: Finding, planted: Planted) -> bool:
    """Whether a finding accuses nobody wrongly: an allowed mistake, or a sentence about the planted cameras only."""
    if finding.mistake is not None and finding.mistake not in planted.allowed:
        return False
    return not planted.cameras or not finding.cameras or set(finding.cameras) <= set(planted.cameras)


def _rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Lines of the table, a planted mistake each, and their sum."""
    rows = []
    for planted in [*dict.fromkeys(result.planted for result in results), "all"]:
        counts = Counter(result.outcome for result in results if planted in ("all", result.planted))
        rows.append((planted, str(counts.total()), *(str(counts[outcome]) for outcome in Judgement)))
    return rows


def _write(report: Path, results: Sequence[Result], facts: dict[str, str]) -> None:
    """The report, and every case next to it as a line of JSON."""
    parts = {
        "Rendered streets that no threshold was chosen on": [r for r in results if not (r.real or r.chosen_on)],
        "Real frames": [r for r in results if r.real],
        "Rendered streets on which thresholds were chosen, as they are": [r for r in results if r.chosen_on],
    }
    tables = [f"### {title}\n\n{markdown_table(HEADINGS, _rows(part))}" for title, part in parts.items() if part]
    healthy = [r for r in results if r.planted == "none"]
    accused = sum(r.outcome is Judgement.wrong for r in healthy)
    summary = f"Healthy recordings: {len(healthy)}, of which accused: {accused}."
    write_report(report, "Planted mistakes and `kd rig check`", facts, "\n\n".join([summary, *tables, METHOD]))
    write_text(report.with_suffix(".jsonl"), "".join(json.dumps(asdict(result)) + "\n" for result in results))
