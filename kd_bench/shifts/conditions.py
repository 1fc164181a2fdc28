"""`kd bench robustness`: one student under conditions it may not have seen, on streets of the same seed.

The conditions are another city, dusk, night and rain. Rendered sets and detections stay in a folder, so a run that was
stopped continues where it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from kd_bench.options import EngineChoice, EngineName, StudentFile, Threads
from kd_bench.progress import progress_bars
from kd_bench.shifts.rigs import SCORE_THRESHOLD, RigBench, RigCase, Score, score_of
from kd_bench.tables import markdown_table, terminal_table, write_report
from kd_perception.atomic import atomic_path
from kd_perception.datasets.nuscenes import open_nuscenes
from kd_perception.datasets.versions import SYNTHETIC_VERSION
from kd_perception.options.detector import DetectorOptions
from kd_perception.resources import SHIPPED_STUDENT, resource
from kd_perception.student.spec import load_student
from kd_synthetic.dataset.config import SynthConfig
from kd_synthetic.dataset.generate import generate

DAY = "day"
# What differs from a dry day in city A: all others are compared with it.
CONDITIONS: Mapping[str, Mapping[str, str]] = {
    DAY: {},
    "city B": {"city": "B"},
    "dusk": {"light": "dusk"},
    "night": {"light": "night"},
    "rain": {"weather": "rain"},
    "night and rain": {"light": "night", "weather": "rain"},
}
HEADINGS = ("condition", "mAP", "NDS", "mATE m", "mAOE rad", "of the day's mAP", "of the day's NDS")
METHOD = """Same seed, number of scenes and rig throughout; the student is not trained further. *day*: dry, in city A,
the conditions of its training. In city A streets and traffic are the same under every light and weather; *city B* has
streets, buildings and vehicles of its own."""
DPI = 90


def robustness(
    *,
    student: StudentFile = None,
    out: Annotated[Path, typer.Option(help="Folder of rendered data and results, kept between runs.")] = Path(
        "out/bench/robustness"
    ),
    condition: Annotated[
        list[str] | None,
        typer.Option(help=f"Only these of {', '.join(CONDITIONS)}; repeat for more. Default: all. {DAY} is always in."),
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes of each condition.")] = 8,
    frames: Annotated[int, typer.Option(min=1, help="Keyframes of each scene.")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the streets; default: the held-out set's.")] = 900,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 2,
    engine: EngineName = DetectorOptions.engine,
    threads: Threads = 0,
    report: Annotated[
        Path | None, typer.Option(help="Also write the table into this Markdown file, and a picture next to it.")
    ] = None,
) -> None:
    """Score a student in another city, at dusk, at night and in rain, relative to a dry day.

    Scenes are rendered on demand. A run that was stopped continues where it was.
    """
    if unknown := set(condition or ()) - set(CONDITIONS):
        raise typer.BadParameter(f"condition {sorted(unknown)[0]} is unknown; choose from: {', '.join(CONDITIONS)}")
    console = Console()
    opened = load_student(student or resource(SHIPPED_STUDENT))
    streets = SynthConfig(out, scenes=scenes, frames=frames, seed=seed, sweeps=0, jobs=jobs)
    bench = RigBench(opened, EngineChoice(engine, threads), out)
    wanted = [name for name in CONDITIONS if name in (DAY, *(condition or CONDITIONS))]
    found = {name: _score(bench, streets, name, console) for name in wanted}
    rows = table_rows(found)
    console.print(terminal_table(f"{opened.spec.name} under other conditions", HEADINGS, rows))
    if report is not None:
        facts = {
            "student": opened.model_id,
            "data": f"{scenes} scenes of {frames} keyframes, seed {seed}, score threshold {SCORE_THRESHOLD}",
        }
        picture = report.with_suffix(".png")
        draw_shares(found, picture)
        body = f"{markdown_table(HEADINGS, rows)}\n\n![mAP and NDS by condition]({picture.name})\n\n{METHOD}"
        write_report(report, "Other cities, light and weather", facts, body)


def _score(bench: RigBench, streets: SynthConfig, name: str, console: Console) -> Score:
    """The student's score under a condition, whose scenes are rendered where they are missing."""
    folder = name.replace(" ", "_")
    console.print(f"[bold]{name}[/bold]: rendering what is missing")
    config = replace(streets, out=streets.out / folder, **CONDITIONS[name])
    generate(config)
    case, nusc = RigCase(folder, folder), open_nuscenes(config.out, SYNTHETIC_VERSION)
    with progress_bars(Console(stderr=True)) as bar:
        results = bench.detections(case, nusc, bar(name))
    return score_of(case, nusc, results, bench.folder_of(case), only_seen=False)


def table_rows(found: Mapping[str, Score]) -> Sequence[tuple[str, ...]]:
    """Lines of the table, as HEADINGS names them."""
    day = found[DAY]
    return [
        (
            name, f"{score.mean_ap:.3f}", f"{score.nds:.3f}", f"{score.translation:.2f}", f"{score.orientation:.2f}",
            f"{_share(score.mean_ap, day.mean_ap):.0f} %", f"{_share(score.nds, day.nds):.0f} %",
        )
        for name, score in found.items()
    ]  # fmt: skip


def _share(value: float, whole: float) -> float:
    return 100.0 * value / max(whole, 1e-9)


def draw_shares(found: Mapping[str, Score], path: Path) -> None:
    """mAP and NDS of every condition, times 100, as bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.8 + 0.5 * len(found)), layout="constrained")
    axes = figure.subplots()
    for offset, (label, values) in enumerate(
        (("mAP", [score.mean_ap for score in found.values()]), ("NDS", [score.nds for score in found.values()]))
    ):
        places = [place + 0.4 * (offset - 0.5) for place in range(len(found))]
        bars = axes.barh(places, [100.0 * value for value in values], height=0.38, label=label)
        axes.bar_label(bars, fmt="%.1f", padding=2)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel="times 100")
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI)
